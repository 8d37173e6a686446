// `holdfast delete older-than 5d`, and the policy of the schedule by hand: keeps what every moment of a window needs.

import { backupsToKeep } from "../../backup/retention.ts";
import { planKeeping } from "../../backup/delete-plan.ts";
import { readBackupFacts } from "../../backup/read-facts.ts";
import type { Call, WalgCommand } from "./command.ts";
import { finish, readArchiveKeys } from "./delete-finish.ts";
import { UsageError } from "./flags.ts";

export const DELETE_OLDER: WalgCommand = {
  path: "delete older-than",
  summary: "Removes what no restore to a moment within the window needs",
  use: "older-than window",
  examples: [
    "older-than 5d                 every moment of the last five days stays restorable",
    "older-than 12h --keep 3       and at least three full backups stay",
  ],
  flags: [{ name: "keep", kind: "int", usage: "Full backups that stay in any case (default 1)" }],
  only: "holdfast",
  check: (args, flags) => {
    if (args.length !== 1) throw new UsageError(`accepts 1 arg(s), received ${args.length}`);
    windowOf(args[0]!);
    if (Number(flags.text("keep") ?? 1) < 1) throw new UsageError("--keep must be at least 1");
  },
  run: deleteOlder,
};

async function deleteOlder(call: Call): Promise<number> {
  const { args, flags, clock, settings, signal, log } = call;
  const store = await call.openStore();
  const backups = await readBackupFacts(store, settings.segmentBytes, signal);
  const keys = await readArchiveKeys(store, signal);
  const policy = { fullBackups: Number(flags.text("keep") ?? 1), windowMs: windowOf(args[0]!) };
  const keep = backupsToKeep(backups, policy, clock.now());
  const archive = { store, backups, keys, segmentBytes: settings.segmentBytes };
  log.info(`keeping ${keep.size} of ${backups.length} backups`);
  return finish(call, archive, planKeeping(keep, archive));
}

/** Milliseconds of `5d`, `12h`, `2w`, `90m`. */
function windowOf(text: string): number {
  const match = /^(\d{1,6})([mhdw])$/.exec(text);
  if (match === null) throw new UsageError(`"${text}" is no window of time`, "such as 5d, 12h or 2w");
  return Number(match[1]) * UNIT_MS[match[2]!]!;
}

const UNIT_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
