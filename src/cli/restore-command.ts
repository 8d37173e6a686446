// `holdfast restore`: orders a restore in place from the running node, which answers at once with a job to watch.

import { parseArgs } from "node:util";
import { AppError, EXIT, messageOf } from "../base/errors.ts";
import type { TargetFields } from "../recovery/target.ts";
import { callLocally } from "../supervisor/local-client.ts";
import type { Call } from "../supervisor/orders.ts";
import type { CommandContext } from "./commands.ts";
import { socketPath } from "./status-command.ts";

/** Exit status 0 when the job has begun, 2 without --confirm or with wrong flags, 1 when it was refused; `--job`: 3 while it runs. */
export async function runRestore(args: readonly string[], context: CommandContext): Promise<number> {
  const call = callOf(args);
  const answer = await callLocally(socketPath(context), `call ${JSON.stringify(call)}`, context.signal);
  for (const line of answer.lines) context.print(`${line}\n`);
  return answer.exit;
}

/** The call that these flags mean. Throws AppError. Pure. */
export function callOf(args: readonly string[]): Call {
  const flags = readFlags(args);
  const confirmed = flags.confirm === true;
  if (flags.job === true) return { verb: "job" };
  if (flags.undo === true) return { verb: "undo", confirmed };
  const fields: TargetFields = {
    time: flags["target-time"],
    lsn: flags["target-lsn"],
    xid: flags["target-xid"],
    name: flags["target-name"],
    immediate: flags["target-immediate"],
    inclusive: flags.exclusive !== true,
    timeline: flags["target-timeline"],
    backup: flags.backup,
  };
  return { verb: "restore", fields, confirmed };
}

function readFlags(args: readonly string[]): ReturnType<typeof parse> {
  try {
    return parse(args);
  } catch (error) {
    throw new AppError(messageOf(error), {
      code: "USAGE",
      hint: "see `holdfast help restore`",
      exitStatus: EXIT.usage,
      cause: error,
    });
  }
}

const parse = (args: readonly string[]) =>
  parseArgs({
    args: [...args],
    strict: true,
    options: {
      "target-time": { type: "string" },
      "target-lsn": { type: "string" },
      "target-xid": { type: "string" },
      "target-name": { type: "string" },
      "target-immediate": { type: "boolean" },
      "target-timeline": { type: "string" },
      exclusive: { type: "boolean" },
      backup: { type: "string" },
      confirm: { type: "boolean" },
      undo: { type: "boolean" },
      job: { type: "boolean" },
    },
  }).values;
