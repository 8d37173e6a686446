// The main process: look, decide, do, until a stop. What it decided and why is logged and shown.

import { mkdir } from "node:fs/promises";
import { AppError, EXIT, messageOf, unreachable } from "../base/errors.ts";
import { pauseBefore } from "../base/retry.ts";
import { clearUnfinished, readControlFile } from "../postgres/data-directory.ts";
import { StoreError } from "../storage/object-store.ts";
import {
  type AskedRestore,
  type BootDecision,
  type BootFacts,
  decideBoot,
  type MembersFacts,
  type StoreFacts,
  type VolumeFacts,
} from "./boot-decision.ts";
import { factsOfError, gatherStore, gatherVolume } from "./boot-facts.ts";
import { gatherMembers } from "./cluster-facts.ts";
import type { MemberEnd } from "./cluster-member.ts";
import { answerOperator } from "./cluster-orders.ts";
import { performAsMember } from "./cluster-perform.ts";
import { answerHooks } from "./cluster-repmgr.ts";
import { guardDisk } from "./disk-guard.ts";
import { foundCluster } from "./founding.ts";
import { giveUpFounding } from "./giving-up.ts";
import { openFront, type Verbs } from "./front.ts";
import { ReplayError } from "../recovery/replay-error.ts";
import { LATEST } from "../recovery/target.ts";
import type { NodeContext } from "./node-context.ts";
import { answerCalls } from "./orders.ts";
import { leadTerm, type TermEnd } from "./primary-term.ts";
import { leadRestored } from "./promoted-term.ts";
import { leadAsked, readAskedRestore } from "./restoring.ts";
import { moveAside } from "./restore-book.ts";
import { isUndoneDirectory } from "./undoing.ts";
import { planReplay, seedFromArchive } from "./seeding.ts";
import type { Child } from "./process-tree.ts";
import type { StopSignals } from "./stop-signals.ts";
import { decideRestart, type RestartBudget } from "./restart-budget.ts";

/** What one decision led to. */
export type Outcome =
  /** Look again, after a pause when `because` says that something is missing. */
  | { readonly kind: "again"; readonly pause: boolean }
  | { readonly kind: "ended"; readonly exitStatus: number };

/** Runs the node to its end; resolves to the exit status. */
export async function runSupervisor(node: NodeContext, verbs: Verbs): Promise<number> {
  const { settings, paths, state, doors, stop, log, owner } = node;
  // Such a machine answers nobody; beside a node on the same network it would find the ports taken.
  if (settings.releaseCommand) return await loop(node, verbs);
  await mkdir(paths.marks, { recursive: true, mode: 0o700 });
  const over = new AbortController();
  await using running = new AsyncDisposableStack();
  running.defer(() => over.abort(new Error("the supervisor ends")));
  const { cluster } = node;
  if (cluster !== null) running.use(cluster);
  running.use(
    await openFront({ settings, state, verbs, owner, log, takeRequest: cluster?.takeRequest ?? null }),
  );
  try {
    const proxy = await doors.start();
    void watchProxy(proxy, stop);
    answerCalls(node, verbs);
    if (cluster !== null) {
      answerOperator(node, cluster, verbs);
      answerHooks(node, cluster, verbs);
    }
    void guardDisk(node, over.signal);
    return await loop(node, verbs);
  } catch (error) {
    if (stop.stopping.aborted) {
      log.info("stopped while something was under way", { because: messageOf(error) });
      return EXIT.ok;
    }
    state.enter("failed", messageOf(error));
    throw error;
  } finally {
    await doors.stop();
  }
}

/** Without its door the node is of no use: the container ends and is started clean. */
async function watchProxy(proxy: Child, stop: StopSignals): Promise<void> {
  const end = await proxy.ended;
  if (end.kind !== "stopped") stop.stop(`HAProxy is gone: ${end.because}`);
}

async function loop(node: NodeContext, verbs: Verbs): Promise<number> {
  const { state, stop, clock, log } = node;
  const starts: number[] = [];
  for (let waits = 0; !stop.stopping.aborted;) {
    const facts = await gatherFacts(node);
    const decision = decideBoot(facts);
    // A wait says so itself, each time.
    if (decision.kind !== "wait") log.info(`decided: ${decision.kind}`, { because: decision.because });
    const outcome = await perform(decision, node, verbs, starts);
    if (outcome.kind === "ended") return outcome.exitStatus;
    if (!outcome.pause) {
      waits = 0;
      continue;
    }
    waits += 1;
    const until = AbortSignal.any([stop.stopping, node.interrupts.signal]);
    await clock.sleep(pauseBefore(waits, WAIT_BACKOFF), until).catch(() => undefined);
  }
  state.enter("stopping", "a stop was asked for");
  return EXIT.ok;
}

async function gatherFacts(node: NodeContext): Promise<BootFacts> {
  const { settings, store, stop } = node;
  const found = await gatherStore(store, stop.stopping);
  const { restore, facts } = await askedRestore(node, found);
  const volume = await lookAtVolume(node);
  return {
    releaseCommand: settings.releaseCommand,
    volume,
    store: facts,
    members:
      node.cluster === null
        ? ALONE
        : await gatherMembers(node.cluster, volume.kind === "empty", (ms) =>
            node.clock.sleep(ms, stop.stopping),
          ),
    restore,
    mayGiveUp: node.cluster === null && settings.restore === null,
  };
}

/** An undo that had moved the old directory back and was cut short goes on: that directory must not be cleared. */
async function lookAtVolume(node: NodeContext): Promise<VolumeFacts> {
  const { paths, programs } = node;
  const volume = await gatherVolume(paths, programs.major);
  if (volume.kind !== "unfinished" || !(await isUndoneDirectory(node))) return volume;
  const { systemId } = await readControlFile(paths.dataDirectory);
  return { kind: "by-hand", systemId: systemId.toString(), hasBackupLabel: false, recoverySignal: true };
}

/** The store may be needed to tell; when it does not answer, that is what it is taken for. */
async function askedRestore(
  node: NodeContext,
  store: StoreFacts,
): Promise<{ readonly restore: AskedRestore | null; readonly facts: StoreFacts }> {
  try {
    return {
      restore: await readAskedRestore(node, store, node.stop.stopping),
      facts: store,
    };
  } catch (error) {
    node.stop.stopping.throwIfAborted();
    if (!(error instanceof StoreError)) throw error;
    return { restore: null, facts: factsOfError(error) };
  }
}

async function perform(
  decision: BootDecision,
  node: NodeContext,
  verbs: Verbs,
  starts: number[],
): Promise<Outcome> {
  const { paths, state, log } = node;
  const member = await asMember(decision, node, verbs, starts);
  if (member !== null) return member;
  switch (decision.kind) {
    case "idle":
      state.enter("waiting", decision.because);
      return { kind: "ended", exitStatus: EXIT.ok };
    case "clear":
      state.enter("booting", decision.because);
      await clearUnfinished(paths);
      return again;
    case "found":
      return await found(node, decision);
    case "contend":
      return await patiently(node, async () => {
        const end = await leadTerm(node, verbs, decision.storeAway);
        if (end.kind !== "suspect") return await afterTerm(end, node, starts);
        return await replaceSuspect(node, verbs, end.because, starts);
      });
    case "restore-latest":
      return await patiently(node, async () => {
        state.enter("restoring", decision.because);
        const plan = await seedFromArchive(node, { request: LATEST, from: null, work: "seed" });
        return await afterTerm(await leadRestored(node, verbs, plan, { origin: "seed" }), node, starts);
      });
    case "replay":
      return await patiently(node, async () => {
        state.enter("restoring", decision.because);
        const order = await planReplay(node);
        try {
          return await afterTerm(await leadRestored(node, verbs, order, { origin: "replay" }), node, starts);
        } catch (error) {
          if (!(error instanceof ReplayError) || !error.startOver) throw error;
          return await replaceSuspect(node, verbs, messageOf(error), starts);
        }
      });
    case "restore-asked":
      return await patiently(node, async () =>
        afterTerm(await leadAsked(node, verbs, decision.request), node, starts),
      );
    case "join":
    case "follow":
      state.enter("waiting", `${decision.because}; this version cannot do that`);
      return { kind: "again", pause: true };
    case "wait":
      state.enter("waiting", decision.because);
      log.warn("waiting", { because: decision.because });
      return { kind: "again", pause: true };
    case "refuse":
      state.enter("failed", decision.because);
      return { kind: "ended", exitStatus: EXIT.failure };
    default:
      return unreachable(decision);
  }
}

/** A new cluster, in place of one whose founding is given up if need be. */
async function found(
  node: NodeContext,
  { because, over }: Extract<BootDecision, { kind: "found" }>,
): Promise<Outcome> {
  const { state, stop, log } = node;
  if (over === null) {
    state.enter("founding", because);
    await foundCluster(node, null);
    return again;
  }
  const former = BigInt(over);
  let firstSegment: bigint | string;
  try {
    firstSegment = await giveUpFounding(node, former);
  } catch (error) {
    if (stop.stopping.aborted || !(error instanceof AppError)) throw error;
    firstSegment = messageOf(error);
  }
  if (typeof firstSegment === "string") {
    state.enter("waiting", `the founding of system ${over} is not given up: ${firstSegment}`);
    log.warn("waiting", { because: firstSegment });
    return { kind: "again", pause: true };
  }
  state.enter("founding", because);
  await foundCluster(node, { former, firstSegment });
  return again;
}

/** Null on a lone node, and where a member does the same. */
async function asMember(
  decision: BootDecision,
  node: NodeContext,
  verbs: Verbs,
  starts: number[],
): Promise<Outcome | null> {
  const { cluster } = node;
  if (cluster === null) return null;
  let end: MemberEnd | null = null;
  const tried = await patiently(node, async () => {
    end = await performAsMember(decision, node, verbs, cluster);
    return again;
  });
  if (tried.kind === "again" && tried.pause) return tried;
  return end === null ? null : await afterMember(end, node, starts);
}

async function afterMember(end: MemberEnd, node: NodeContext, starts: number[]): Promise<Outcome> {
  if (end.kind === "postgres-ended" || end.kind === "stopped") return await afterTerm(end, node, starts);
  return again;
}

/** A restore that did not succeed is begun again after a pause, without end: what it needs may come back. */
async function patiently({ state, stop, log }: NodeContext, work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    if (stop.stopping.aborted || !(error instanceof AppError)) throw error;
    state.enter("waiting", messageOf(error));
    log.error("the restore did not succeed and is begun again", {
      because: messageOf(error),
      hint: error.hint,
    });
    return { kind: "again", pause: true };
  }
}

/** A volume that the log does not let lead, with no member alive: kept aside, and the cluster is restored to the log's end. */
async function replaceSuspect(
  node: NodeContext,
  verbs: Verbs,
  because: string,
  starts: number[],
): Promise<Outcome> {
  const { state, paths, clock, log } = node;
  log.error("the volume does not lead on: it is kept aside and the cluster is restored from the archive", {
    because,
  });
  state.enter("restoring", because);
  const order = { request: LATEST, from: null, work: "restore" } as const;
  const id = `s-${clock.now().toString(36)}`;
  const plan = await seedFromArchive(node, order, () => moveAside(paths, id, clock.now()));
  return await afterTerm(await leadRestored(node, verbs, plan, { origin: "seed" }), node, starts);
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** What the end of a term means for the node. */
async function afterTerm(
  end: TermEnd,
  { state, stop, clock }: NodeContext,
  starts: number[],
): Promise<Outcome> {
  if (end.kind === "stopped") return { kind: "ended", exitStatus: EXIT.ok };
  if (end.kind === "again") return { kind: "again", pause: end.pause };
  if (end.kind === "suspect" || end.kind === "fenced") {
    // Another node leads. Contending at once would fence it; a restart of this container asks again.
    state.enter("suspect", end.because);
    await untilAborted(stop.stopping);
    return again;
  }
  starts.push(end.startedMs);
  const verdict = decideRestart(POSTGRES_BUDGET, end.exit, starts, clock.monotonicMs());
  if (verdict.kind !== "restart") {
    state.enter("failed", `Postgres: ${verdict.because}`);
    return { kind: "ended", exitStatus: EXIT.failure };
  }
  state.enter("starting", `Postgres: ${verdict.because}`);
  await clock.sleep(verdict.pauseMs, stop.stopping).catch(() => undefined);
  return again;
}

const ALONE: MembersFacts = { primary: null, allSeen: true, mayFound: true };
const again: Outcome = { kind: "again", pause: false };
const WAIT_BACKOFF = { firstMs: 1_000, mostMs: 15_000, tries: Infinity };
/** A postmaster that dies more often than this within the window takes the container with it; the orchestrator starts it clean. */
const POSTGRES_BUDGET: RestartBudget = {
  policy: "permanent",
  starts: 5,
  windowMs: 120_000,
  firstPauseMs: 100,
  mostPauseMs: 2_000,
};
