// What the command line asks of a running node over the local socket: `call JSON`, answered with lines and an exit status.

import { randomBytes } from "node:crypto";
import { messageOf, AppError } from "../base/errors.ts";
import { type RestoreRequest, parseRequest, type TargetFields } from "../recovery/target.ts";
import type { RestorePlan } from "../recovery/plan.ts";
import type { Verbs } from "./front.ts";
import type { SocketAnswer } from "./local-socket.ts";
import type { NodeContext } from "./node-context.ts";
import { isThere, readAside, readOrder, writeOrder } from "./restore-book.ts";
import { planSeed } from "./seeding.ts";

/** What may be called. */
export type Call =
  | { readonly verb: "restore"; readonly fields: TargetFields; readonly confirmed: boolean }
  | { readonly verb: "undo"; readonly confirmed: boolean }
  | { readonly verb: "job" };

/** Answers calls for the life of the supervisor. */
export function answerCalls(node: NodeContext, verbs: Verbs): void {
  verbs.set("call", async ([text = ""], signal) => {
    const call = parseCall(text);
    switch (call?.verb) {
      case "restore":
        return await orderRestore(node, call.fields, call.confirmed, signal);
      case "undo":
        return await orderUndo(node, call.confirmed);
      case "job":
        return await describeJob(node);
      case undefined:
      default:
        return { lines: ["this call is not known"], exit: 2 };
    }
  });
}

function parseCall(text: string): Call | null {
  try {
    return JSON.parse(text) as Call;
  } catch {
    return null;
  }
}

/** Plans first: an impossible target is refused while the server still serves, with the window that can be reached. */
async function orderRestore(
  node: NodeContext,
  fields: TargetFields,
  confirmed: boolean,
  signal: AbortSignal,
): Promise<SocketAnswer> {
  const { paths, clock, log, interrupts } = node;
  const standing = await readOrder(paths);
  if (standing !== null)
    return { lines: [`job ${standing.id} is not done yet; nothing else is begun`], exit: 1 };
  let request: RestoreRequest;
  let planned: { readonly plan: RestorePlan; readonly window: readonly string[] };
  try {
    request = parseRequest(fields);
    planned = await planSeed(node, { request, from: null, work: "restore" }, new Set(), signal);
  } catch (error) {
    const hint = error instanceof AppError ? [`HINT: ${error.hint}`] : [];
    return { lines: [messageOf(error), ...hint], exit: error instanceof AppError ? error.exitStatus : 1 };
  }
  const { plan, window } = planned;
  const sentences = [...window, `plan: ${plan.because}, about ${plan.estimatedSeconds} s`];
  if (!confirmed) {
    return {
      lines: [
        ...sentences,
        "clients are kept out meanwhile; the present data directory is kept aside, and `holdfast restore --undo` brings it back",
        "nothing was done: add --confirm",
      ],
      exit: 2,
    };
  }
  const id = `r-${randomBytes(4).toString("hex")}`;
  await writeOrder(paths, { id, kind: "restore", fields, askedMs: clock.now() });
  log.warn("a restore was ordered", { id, because: plan.because });
  interrupts.interrupt(`restore ${id} was ordered`);
  return {
    lines: [...sentences, `job ${id} has begun; watch it with: holdfast restore --job, or holdfast status`],
    exit: 0,
  };
}

async function orderUndo(
  { paths, clock, log, interrupts }: NodeContext,
  confirmed: boolean,
): Promise<SocketAnswer> {
  const standing = await readOrder(paths);
  if (standing !== null)
    return { lines: [`job ${standing.id} is not done yet; nothing else is begun`], exit: 1 };
  const aside = await readAside(paths);
  if (aside === null || !(await isThere(aside.path)))
    return { lines: ["nothing is kept aside, so there is nothing to undo"], exit: 1 };
  const since = new Date(aside.movedMs).toISOString();
  if (!confirmed) {
    return {
      lines: [
        `the data directory kept aside since ${since} would come back; what was written since then stays only in the archive`,
        "nothing was done: add --confirm",
      ],
      exit: 2,
    };
  }
  const id = `u-${randomBytes(4).toString("hex")}`;
  await writeOrder(paths, { id, kind: "undo", fields: {}, askedMs: clock.now() });
  log.warn("the undo of a restore was ordered", { id });
  interrupts.interrupt(`undo ${id} was ordered`);
  return {
    lines: [`job ${id} has begun; watch it with: holdfast restore --job, or holdfast status`],
    exit: 0,
  };
}

async function describeJob({ paths, state }: NodeContext): Promise<SocketAnswer> {
  const order = await readOrder(paths);
  const { phase, because } = state.view();
  if (order === null)
    return { lines: [`no restore is under way; the node is ${phase}: ${because}`], exit: 0 };
  return {
    lines: [`job ${order.id} (${order.kind}) is under way; the node is ${phase}: ${because}`],
    exit: 3,
  };
}
