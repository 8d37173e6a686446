// One term as a primary: take the log over, start Postgres behind closed doors, stream, first backup, doors; until something ends it.

import type { ChildExit } from "./restart-budget.ts";
import { AppError, messageOf } from "../base/errors.ts";
import { listBackups, readSentinel } from "../backup/catalog.ts";
import type { ControlFile } from "../postgres/control-file.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { readCompletion, readControlFile } from "../postgres/data-directory.ts";
import { type Server, ServerEndedError } from "../postgres/server.ts";
import { type FoundingOutcome, settleFounding } from "../tail/founding.ts";
import { insist } from "../tail/insist.ts";
import { NO_PROMOTION } from "../tail/slot.ts";
import { backUp, startBackupSchedule } from "./backups.ts";
import { NOWHERE } from "./doors.ts";
import { ensureContents } from "./founding.ts";
import type { Verbs } from "./front.ts";
import { forgetSuccessor, readSuccessor } from "./giving-up.ts";
import { OPEN } from "./local-postgres.ts";
import { measurePrimary } from "./measuring.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import { markAdmitted, wasAdmitted } from "./admission.ts";
import { foreseeSuspect, type LogTerm, type PromotionIds, startLogTerm } from "./log-term.ts";

export type TermEnd =
  | { readonly kind: "stopped" }
  /** The junction did not let it begin: nothing was started. */
  | { readonly kind: "suspect"; readonly because: string }
  /** A newer fence stands in the log: another node leads. */
  | { readonly kind: "fenced"; readonly because: string }
  | { readonly kind: "again"; readonly pause: boolean }
  | { readonly kind: "postgres-ended"; readonly exit: ChildExit; readonly startedMs: number };

/**
 * Leads on the data that is there until a stop, the end of Postgres, or the loss of the log. With the store away (G7) Postgres starts at once
 * and the junction is made up for as soon as the store answers.
 */
export async function leadTerm(node: NodeContext, verbs: Verbs, storeAway: boolean): Promise<TermEnd> {
  const { paths, state, postgres, clock, log, stop } = node;
  const control = await readControlFile(paths.dataDirectory);
  if (storeAway && !(await wasAdmitted(paths, control.systemId))) {
    state.enter("waiting", "the store does not answer, and the first base backup is not known to be in it");
    return { kind: "again", pause: true };
  }
  const mark = await readCompletion(paths);
  const promotion = mark?.promotionId ?? NO_PROMOTION;
  const ids = { promotion, parentPromotion: promotion };
  const leaving = new AbortController();
  const until = AbortSignal.any([stop.stopping, node.interrupts.signal, leaving.signal]);
  let joining: Promise<LogTerm>;
  if (storeAway) {
    joining = startLogTerm(node, control, ids, until);
    joining.catch(() => undefined);
  } else {
    state.enter("starting", "taking the log over");
    const limit = AbortSignal.timeout(TAKE_OVER_LIMIT_MS);
    const begun = await beginLog(node, control, ids, AbortSignal.any([until, limit])).catch(
      (error: unknown) => {
        if (!limit.aborted || until.aborted) throw error;
        return null;
      },
    );
    if (begun === null) {
      state.enter(
        "waiting",
        `the store did not let the log be taken over within ${TAKE_OVER_LIMIT_MS / 1000} s`,
      );
      return { kind: "again", pause: true };
    }
    if (typeof begun === "string") return { kind: "suspect", because: begun };
    const logTerm = begun;
    log.info(`junction: ${logTerm.junction.kind}`, { because: logTerm.junction.because });
    if (logTerm.junction.kind === "suspect") {
      await logTerm[Symbol.asyncDispose]();
      return { kind: "suspect", because: logTerm.junction.because };
    }
    joining = Promise.resolve(logTerm);
  }
  state.enter("starting", "Postgres starts");
  const startedMs = clock.monotonicMs();
  try {
    const server = await postgres.start({
      role: NO_ROLE,
      recovers: false,
      fromElsewhere: false,
      archives: true,
    });
    return await serveAndClose(node, verbs, {
      server,
      joining,
      control,
      startedMs,
      doorsFirst: storeAway,
      onAccepted: async () => undefined,
      restarts: false,
    });
  } finally {
    leaving.abort(new Error("the term is over"));
    const logTerm = await joining.catch(() => null);
    await logTerm?.[Symbol.asyncDispose]();
  }
}

/** The log, joined; or the sentence of a suspect, before anybody was fenced. */
async function beginLog(
  node: NodeContext,
  control: ControlFile,
  ids: PromotionIds,
  signal: AbortSignal,
): Promise<LogTerm | string> {
  return (
    (await foreseeSuspect(node, control, ids, signal)) ?? (await startLogTerm(node, control, ids, signal))
  );
}

export interface Term {
  readonly server: Server;
  /** The log, taken over and joined; with the store away it comes later. */
  readonly joining: Promise<LogTerm>;
  readonly control: ControlFile;
  readonly startedMs: number;
  /** Clients are let in before the log is joined (G7). */
  readonly doorsFirst: boolean;
  /** After the log accepted this timeline, before the doors open. */
  readonly onAccepted: () => Promise<void>;
  /** Stop in order once it is accepted, and begin an ordinary term. */
  readonly restarts: boolean;
}

/** Serves as primary until something ends the term, and stops the server whatever that is. */
export async function serveAndClose(node: NodeContext, verbs: Verbs, term: Term): Promise<TermEnd> {
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

async function serve(node: NodeContext, verbs: Verbs, term: Term): Promise<TermEnd> {
  const { server, control, startedMs } = term;
  const { state, stop, log, clock, settings, doors, postgres } = node;
  const over = new AbortController();
  const inTerm = AbortSignal.any([over.signal, stop.stopping, node.interrupts.signal]);
  const ended = server.exited.then((exit) => {
    over.abort(new ServerEndedError(exit));
    return exit;
  });
  let logTerm: LogTerm | null = null;
  try {
    await server.ready(inTerm, (status) => state.enter("starting", `Postgres is ${status ?? "starting"}`));
    state.set({
      postgresUp: true,
      role: "primary",
      timeline: control.timeline,
      postgresStarts: postgres.starts,
    });
    if (term.doorsFirst) {
      await ensureContents(node);
      await openDoors(
        node,
        "the store does not answer and no member is out of sight: commits are safe on this volume only",
      );
    }
    logTerm = await within(term.joining, inTerm);
    const lastBackupMs = await lead(node, verbs, term, logTerm, over, inTerm);
    startBackupSchedule(node, logTerm, inTerm, lastBackupMs);
    void measurePrimary(node, sourceOf(node, control.systemId, control.segmentBytes), inTerm);
    await untilAborted(inTerm);
  } catch (error) {
    if (!inTerm.aborted) throw error;
    log.info("the term ends", { because: messageOf(inTerm.reason) });
  }
  state.set({ doorsOpen: false });
  await doors.route(NOWHERE);
  if (!server.running) return { kind: "postgres-ended", exit: await ended, startedMs };
  if (logTerm?.lost.aborted === true) {
    await server.quit(FENCE_LIMIT_MS);
    return { kind: "fenced", because: messageOf(logTerm.lost.reason) };
  }
  state.enter(stop.stopping.aborted ? "stopping" : "starting", messageOf(inTerm.reason));
  await stopInOrder(node, server, logTerm, clock.monotonicMs() + settings.stopTimeoutMs);
  return stop.stopping.aborted ? { kind: "stopped" } : { kind: "again", pause: false };
}

/** From the junction to open doors; resolves to when the newest backup was made. `over` is aborted when the log or the streamer ends the term. */
async function lead(
  node: NodeContext,
  verbs: Verbs,
  { onAccepted, restarts, doorsFirst }: Term,
  logTerm: LogTerm,
  over: AbortController,
  inTerm: AbortSignal,
): Promise<number | null> {
  const { junction } = logTerm;
  for (const signal of [logTerm.lost, logTerm.over])
    signal.addEventListener("abort", () => over.abort(signal.reason), { once: true });
  if (junction.kind === "suspect") {
    // Only a start with the store away comes here: what was let in meanwhile is on this volume alone.
    node.log.error("the log does not let this node lead", { because: junction.because });
    logTerm.giveUp(junction.because);
    inTerm.throwIfAborted();
  }
  node.state.set({ timeline: logTerm.timeline });
  await logTerm.attach(verbs, inTerm);
  await logTerm.accepted(inTerm);
  await onAccepted();
  if (restarts) over.abort(new Error("the restore is accepted; the server starts anew without its target"));
  inTerm.throwIfAborted();
  if (!doorsFirst) await ensureContents(node);
  const lastBackupMs = await firstBackup(node, logTerm, inTerm);
  await openDoors(node, junction.kind === "genesis" ? "its log was founded" : junction.because);
  return lastBackupMs;
}

/** W8: fast stop, the last WAL settled meanwhile and after it, a base; all within the time that the platform gives. */
export async function stopInOrder(
  { stop, clock }: NodeContext,
  server: Server,
  logTerm: LogTerm | null,
  deadlineMs: number,
): Promise<void> {
  const leftMs = Math.max(2_000, deadlineMs - clock.monotonicMs());
  const draining = logTerm?.drain(leftMs * 0.6);
  await server.stop({ fastMs: leftMs * 0.75, immediateMs: leftMs * 0.1, hurry: stop.hurry });
  await draining;
}

/**
 * Doors open only where a backup of this system exists: otherwise the first client's rows could not be restored. Resolves to its age's beginning.
 * Throws FoundingGivenUpError when another node gave this system up meanwhile.
 */
export async function firstBackup(
  node: NodeContext,
  logTerm: LogTerm,
  signal: AbortSignal,
): Promise<number | null> {
  const { store, state, log, paths } = node;
  const newest = await newestOfSystem(node, logTerm.claim.identity.systemId, signal);
  if (newest === null) {
    state.enter("founding", "the first base backup is taken before the first client is admitted");
    log.info("taking the first base backup");
    await backUp(node, logTerm, signal);
  }
  const { systemId } = logTerm.claim.identity;
  const settle = (): Promise<FoundingOutcome> => settleFounding(store, systemId, "admitted", signal);
  if ((await insist("admitting clients", settle, { ...node, signal })) === "given-up")
    throw new FoundingGivenUpError(systemId);
  await forgetSuccessor(paths);
  return newest;
}

/** When the newest backup was made, if it is this system's: in the place of a given-up founding a stray one may stand. */
async function newestOfSystem(
  { store, log, paths }: NodeContext,
  systemId: bigint,
  signal: AbortSignal,
): Promise<number | null> {
  const newest = (await listBackups(store, signal)).at(-1);
  if (newest === undefined) return null;
  if ((await readSuccessor(paths)) === null) return newest.modifiedMs;
  const sentinel = await readSentinel(store, newest.name, signal);
  if ((sentinel.systemIdentifier ?? systemId) === systemId) return newest.modifiedMs;
  log.warn("the newest base backup is another system's", { backup: newest.name });
  return null;
}

/** Another node found the prefix without a backup and took it over, while this one was still making its first. */
class FoundingGivenUpError extends AppError {
  constructor(systemId: bigint) {
    super(`the founding of system ${systemId} was given up by another node`, {
      code: "FOUNDING_GIVEN_UP",
      hint: "clear this volume: no client was ever let in to it",
    });
  }
}

async function openDoors(node: NodeContext, because: string): Promise<void> {
  const { postgres, doors, state, settings, paths, clock } = node;
  const { systemId } = await readControlFile(paths.dataDirectory);
  await markAdmitted(paths, systemId, clock.now());
  await postgres.setDoors(OPEN);
  const here = { host: "127.0.0.1", port: settings.ports.postgres };
  await doors.route({ primary: here, standbys: [here] });
  state.set({ doorsOpen: true });
  state.enter("running", because);
}

async function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

const FENCE_LIMIT_MS = 5_000;
/** Past this the store counts as away, and the boot decision says what that means. */
const TAKE_OVER_LIMIT_MS = 30_000;
