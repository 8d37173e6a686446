// One term as a primary: take the log over, start Postgres behind closed doors, stream, first backup, doors; until something ends it.

import type { ChildExit } from "./restart-budget.ts";
import { messageOf } from "../base/errors.ts";
import { listBackups } from "../backup/catalog.ts";
import type { ControlFile } from "../postgres/control-file.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { markComplete, readCompletion, readControlFile } from "../postgres/data-directory.ts";
import { type Server, ServerEndedError } from "../postgres/server.ts";
import { NO_PROMOTION } from "../tail/slot.ts";
import { backUp, startBackupSchedule } from "./backups.ts";
import { NOWHERE } from "./doors.ts";
import { ensureContents } from "./founding.ts";
import type { Verbs } from "./front.ts";
import { OPEN } from "./local-postgres.ts";
import { measurePrimary } from "./measuring.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import { type LogTerm, startLogTerm } from "./log-term.ts";
import { type ReplayPlan, replayAndPromote } from "./replaying.ts";

export type TermEnd =
  | { readonly kind: "stopped" }
  | { readonly kind: "again"; readonly pause: boolean }
  | { readonly kind: "postgres-ended"; readonly exit: ChildExit; readonly startedMs: number };

/** Leads on the data that is there until a stop, the end of Postgres, or the loss of the log. */
export async function leadTerm(node: NodeContext, verbs: Verbs): Promise<TermEnd> {
  const { paths, state, postgres, clock, log } = node;
  const control = await readControlFile(paths.dataDirectory);
  const mark = await readCompletion(paths);
  state.enter("starting", "taking the log over");
  const promotion = mark?.promotionId ?? NO_PROMOTION;
  await using logTerm = await startLogTerm(node, control, { promotion, parentPromotion: promotion });
  const { junction } = logTerm;
  log.info(`junction: ${junction.kind}`, { because: junction.because });
  if (junction.kind === "suspect") {
    state.enter("suspect", junction.because);
    return { kind: "again", pause: true };
  }
  state.enter("starting", "Postgres starts");
  const startedMs = clock.monotonicMs();
  const server = await postgres.start({
    role: NO_ROLE,
    recovers: false,
    fromElsewhere: false,
    archives: true,
  });
  return await serveAndClose(node, verbs, {
    server,
    logTerm,
    control,
    startedMs,
    onAccepted: async () => undefined,
    restarts: false,
  });
}

/** Replays the directory that is there, promotes it to a new timeline and leads on it. `origin` goes into the mark of completion. */
export async function leadRestored(
  node: NodeContext,
  verbs: Verbs,
  plan: ReplayPlan,
  origin: string,
  onAccepted: () => Promise<void> = async () => undefined,
): Promise<TermEnd> {
  const { paths, state, clock } = node;
  const { server, logTerm, promotion } = await replayAndPromote(node, verbs, plan);
  await using term = new AsyncDisposableStack();
  term.use(logTerm);
  const control = await readControlFile(paths.dataDirectory);
  state.enter("starting", logTerm.junction.because);
  return await serveAndClose(node, verbs, {
    server,
    logTerm,
    control,
    startedMs: clock.monotonicMs(),
    // Only now is the volume a primary's: one that dies before starts over (G6).
    onAccepted: async () => {
      await onAccepted();
      await markComplete(paths, {
        systemId: control.systemId,
        role: "primary",
        promotionId: promotion,
        origin,
        writtenMs: clock.now(),
      });
    },
    // A target stays in pg_settings until the server starts again.
    restarts: Object.keys(plan.recovery).length > 0,
  });
}

interface Term {
  readonly server: Server;
  readonly logTerm: LogTerm;
  readonly control: ControlFile;
  readonly startedMs: number;
  /** After the log accepted this timeline, before the doors open. */
  readonly onAccepted: () => Promise<void>;
  /** Stop in order once it is accepted, and begin an ordinary term. */
  readonly restarts: boolean;
}

async function serveAndClose(node: NodeContext, verbs: Verbs, term: Term): Promise<TermEnd> {
  const { state, stop } = node;
  const { server, control } = term;
  try {
    state.set({ systemId: control.systemId.toString() });
    return await serve(node, verbs, term);
  } finally {
    state.set({ doorsOpen: false, postgresUp: false, role: "none" });
    await node.doors.route(NOWHERE);
    if (server.running) await server.stop({ fastMs: 10_000, immediateMs: 5_000, hurry: stop.hurry });
  }
}

async function serve(
  node: NodeContext,
  verbs: Verbs,
  { server, logTerm, control, startedMs, onAccepted, restarts }: Term,
): Promise<TermEnd> {
  const { state, stop, postgres, log, clock, settings, doors } = node;
  const over = new AbortController();
  const asked = node.interrupts.signal;
  const inTerm = AbortSignal.any([over.signal, stop.stopping, logTerm.lost, logTerm.over, asked]);
  const ended = server.exited.then((exit) => {
    over.abort(new ServerEndedError(exit));
    return exit;
  });
  try {
    await server.ready(inTerm, (status) => state.enter("starting", `Postgres is ${status ?? "starting"}`));
    state.set({
      postgresUp: true,
      role: "primary",
      timeline: logTerm.timeline,
      postgresStarts: postgres.starts,
    });
    await logTerm.attach(verbs, inTerm);
    await logTerm.accepted(inTerm);
    await onAccepted();
    if (restarts) over.abort(new Error("the restore is accepted; the server starts anew without its target"));
    inTerm.throwIfAborted();
    await ensureContents(node);
    await firstBackup(node, logTerm, inTerm);
    await openDoors(node, logTerm);
    startBackupSchedule(node, logTerm, inTerm);
    void measurePrimary(node, sourceOf(node, control.systemId, control.segmentBytes), inTerm);
    await untilAborted(inTerm);
  } catch (error) {
    if (!inTerm.aborted) throw error;
    log.info("the term ends", { because: messageOf(inTerm.reason) });
  }
  state.set({ doorsOpen: false });
  await doors.route(NOWHERE);
  if (!server.running) return { kind: "postgres-ended", exit: await ended, startedMs };
  if (logTerm.lost.aborted) {
    state.enter("suspect", messageOf(logTerm.lost.reason));
    await server.quit(FENCE_LIMIT_MS);
    return { kind: "again", pause: true };
  }
  state.enter(stop.stopping.aborted ? "stopping" : "starting", messageOf(inTerm.reason));
  await stopInOrder(node, server, logTerm, clock.monotonicMs() + settings.stopTimeoutMs);
  return stop.stopping.aborted ? { kind: "stopped" } : { kind: "again", pause: false };
}

/** W8: fast stop, the last WAL settled meanwhile and after it, a base; all within the time that the platform gives. */
async function stopInOrder(
  { stop, clock }: NodeContext,
  server: Server,
  logTerm: LogTerm,
  deadlineMs: number,
): Promise<void> {
  const leftMs = Math.max(2_000, deadlineMs - clock.monotonicMs());
  const draining = logTerm.drain(leftMs * 0.6);
  await server.stop({ fastMs: leftMs * 0.75, immediateMs: leftMs * 0.1, hurry: stop.hurry });
  await draining;
}

/** Doors open only where a backup exists: otherwise the first client's rows could not be restored. */
async function firstBackup(node: NodeContext, logTerm: LogTerm, signal: AbortSignal): Promise<void> {
  const { store, state, log } = node;
  const backups = await listBackups(store, signal);
  if (backups.length > 0) return;
  state.enter("founding", "the first base backup is taken before the first client is admitted");
  log.info("taking the first base backup");
  await backUp(node, logTerm, signal);
}

async function openDoors(node: NodeContext, logTerm: LogTerm): Promise<void> {
  const { postgres, doors, state, settings } = node;
  await postgres.setDoors(OPEN);
  const here = { host: "127.0.0.1", port: settings.ports.postgres };
  await doors.route({ primary: here, standbys: [here] });
  state.set({ doorsOpen: true });
  state.enter("running", logTerm.junction.because);
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

const FENCE_LIMIT_MS = 5_000;
