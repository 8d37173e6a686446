// A hand-over: stop in order, let the successor take over, turn round (design section 6). The old primary's side.

import { messageOf, unreachable } from "../base/errors.ts";
import {
  advanceSwitchover,
  beginSwitchover,
  type Switchover,
  type SwitchoverEvent,
} from "../cluster/switchover.ts";
import { LocalWal, localPath, pgWal } from "../archive/local-wal.ts";
import { readControlFile, updateCompletion } from "../postgres/data-directory.ts";
import { withSql } from "../postgres/sql.ts";
import type { Server } from "../postgres/server.ts";
import { formatLsn, type Lsn, parseLsn } from "../wal/lsn.ts";
import type { Cluster } from "./cluster.ts";
import { closeDoors, type Lead } from "./cluster-lead.ts";
import { writeStandbySignal } from "./cluster-standby.ts";
import type { NodeContext } from "./node-context.ts";
import { stopInOrder } from "./primary-term.ts";

/** What became of it. */
export type HandOver =
  /** The successor leads; this directory is a standby's. */
  | { readonly kind: "handed-over"; readonly to: string }
  /** Nothing was touched. */
  | { readonly kind: "refused"; readonly because: string }
  /** Postgres is stopped, and nobody was promoted, or it is not known: the log decides. */
  | { readonly kind: "contend"; readonly because: string };

/** Hands over to `successor`. Postgres is stopped unless this was refused at once. */
export async function handOver(
  node: NodeContext,
  cluster: Cluster,
  server: Server,
  lead: Lead,
  successor: string,
  because: string,
): Promise<HandOver> {
  const { log, clock, state } = node;
  let step = beginSwitchover(successor, cluster.nowMs, because);
  state.enter("stopping", `handing over to ${successor}: ${because}`);
  for (;;) {
    const begunMs = clock.monotonicMs();
    const event = await perform(step, node, cluster, server, lead).catch(
      (error: unknown): SwitchoverEvent => ({ kind: "silence", because: messageOf(error) }),
    );
    log.info(`hand-over: ${step.step}`, {
      to: successor,
      tookMs: Math.round(clock.monotonicMs() - begunMs),
      outcome: event.kind,
      ...("because" in event ? { because: event.because } : {}),
    });
    step = advanceSwitchover(step, event);
    if (step.step === "done") {
      return event.kind === "turned-round"
        ? { kind: "handed-over", to: successor }
        : { kind: "refused", because: step.because };
    }
    if (step.step === "resume" || step.step === "contend") return { kind: "contend", because: step.because };
  }
}

async function perform(
  { step, successor, stoppedAt }: Switchover,
  node: NodeContext,
  cluster: Cluster,
  server: Server,
  lead: Lead,
): Promise<SwitchoverEvent> {
  const { paths, clock, settings, stop } = node;
  switch (step) {
    case "prepare":
      await cluster.call(successor, "ready-to-lead", {}, CALL_MS);
      await checkpointBefore(node, lead);
      // It may have taken a while.
      await cluster.call(successor, "ready-to-lead", {}, CALL_MS);
      return { kind: "ready" };
    case "stop": {
      // From here on this node says that it leaves: nobody waits for its licence, and nobody takes it for dead.
      await closeDoors(node);
      cluster.watcher.release();
      cluster.became({ kind: "leaving" });
      const limitMs = Math.min(settings.stopTimeoutMs, STOP_MS);
      await stopInOrder(node, server, lead.logTerm, clock.monotonicMs() + limitMs);
      return { kind: "stopped", at: await endOf(node) };
    }
    case "confirm":
      return await confirm(node, cluster, successor, stoppedAt!);
    case "hand-over":
      await cluster.call(successor, "take-over", { at: formatLsn(stoppedAt!) }, CALL_MS);
      return await untilItLeads(node, cluster, successor);
    case "turn-round":
      await writeStandbySignal(node);
      await updateCompletion(paths, { role: "standby", writtenMs: clock.now() });
      stop.hurry.throwIfAborted();
      return { kind: "turned-round" };
    case "done":
    case "resume":
    case "contend":
      return { kind: "refused", because: `nothing to do in step "${step}"` };
    default:
      return unreachable(step);
  }
}

/** While clients still write: the shutdown checkpoint then finds little that is dirty, and they wait only for that. */
async function checkpointBefore({ postgres, settings, stop, log }: NodeContext, lead: Lead): Promise<void> {
  const over = new AbortController();
  void lead.ended.then(() => over.abort(new Error("this node does not lead any more")));
  const signal = AbortSignal.any([over.signal, stop.hurry]);
  const timeoutMs = Math.min(CHECKPOINT_MS, settings.stopTimeoutMs / 4);
  try {
    await withSql(await postgres.address("holdfast hand-over"), (sql) =>
      sql.query("checkpoint", [], { timeoutMs, signal }),
    );
  } catch (error) {
    signal.throwIfAborted();
    log.warn("the checkpoint before the hand-over was not waited for", { because: messageOf(error) });
  }
}

/** The end of the shutdown checkpoint's record. */
async function endOf({ paths }: NodeContext): Promise<Lsn> {
  const control = await readControlFile(paths.dataDirectory);
  const path = await localPath(paths.dataDirectory);
  const local = new LocalWal(pgWal(paths.dataDirectory), path, control.segmentBytes);
  return await local.walkFrom(control.checkpoint, control.systemId);
}

/** The successor has received everything. */
async function confirm(
  { clock, stop }: NodeContext,
  cluster: Cluster,
  successor: string,
  at: Lsn,
): Promise<SwitchoverEvent> {
  const begunMs = clock.monotonicMs();
  for (;;) {
    const text = await cluster.call(successor, "position", {}, CALL_MS);
    const { recordEnd } = JSON.parse(text) as { recordEnd: string };
    if (parseLsn(recordEnd) >= at) return { kind: "received" };
    if (clock.monotonicMs() - begunMs > CONFIRM_MS)
      return {
        kind: "refused",
        because: `${successor} is at ${recordEnd} and did not receive everything up to ${formatLsn(at)}`,
      };
    await clock.sleep(20, stop.hurry);
  }
}

async function untilItLeads(
  { clock, stop }: NodeContext,
  cluster: Cluster,
  successor: string,
): Promise<SwitchoverEvent> {
  const begunMs = clock.monotonicMs();
  while (clock.monotonicMs() - begunMs < TAKE_OVER_MS) {
    const report = await cluster.askNow(successor, cluster.settings.mind.timers.answerMs);
    if (report?.standing === "primary") return { kind: "taken-over" };
    const isBack = report?.standing === "standby" && clock.monotonicMs() - begunMs > GATE_BEGINS_MS;
    if (report?.standing === "suspect" || isBack)
      return { kind: "refused", because: `${successor} gave the gate up: it is ${report.standing}` };
    await clock.sleep(50, stop.hurry);
  }
  return { kind: "silence", because: `${successor} does not lead after ${TAKE_OVER_MS} ms` };
}

const CALL_MS = 2_000;
const CHECKPOINT_MS = 20_000;
const STOP_MS = 30_000;
const CONFIRM_MS = 5_000;
const TAKE_OVER_MS = 15_000;
/** A successor that is still a standby after this has given the gate up. */
const GATE_BEGINS_MS = 1_000;
