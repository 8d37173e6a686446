// A directory that is there, replayed to the log's end and promoted behind a fence (G2, G6): how a seed, a volume filled by hand and
// `touch recovery.signal` become a primary on a new timeline.

import { chown, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ArchiveSource } from "../archive/archive-source.ts";
import { readSourceLog } from "../archive/archive-source.ts";
import { pathFromFiles, pgWal } from "../archive/local-wal.ts";
import { PathReader } from "../archive/path-reader.ts";
import { answerRestore, RestoreCommand } from "../archive/restore-command.ts";
import { writeDurably } from "../base/durable-file.ts";
import { AppError, invariant } from "../base/errors.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { readControlFile } from "../postgres/data-directory.ts";
import { currentTimeline, isInRecovery, promote, walPositions } from "../postgres/queries.ts";
import type { Parameters } from "../postgres/parameters.ts";
import type { Server } from "../postgres/server.ts";
import { withSql } from "../postgres/sql.ts";
import type { LogView } from "../tail/read.ts";
import { type Claim, randomToken, takeOver } from "../tail/take-over.ts";
import { formatLsn, type Lsn } from "../wal/lsn.ts";
import { historyName } from "../wal/segment-name.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import type { Verbs } from "./front.ts";
import { LogTerm } from "./log-term.ts";
import type { NodeContext } from "./node-context.ts";

export interface ReplayPlan {
  readonly source: ArchiveSource;
  /** Of the timeline that is replayed. */
  readonly path: TimelinePath;
  /** No record of the log begins below: walks need go back no further. */
  readonly floor: Lsn;
  /** The directory may hold WAL that the log lacks: it is brought along (S2). */
  readonly hasOwnWal: boolean;
  /** `drain`: everything the path has. `target`: Postgres's own recovery target ends it. `either`: whichever comes first. */
  readonly ending: "drain" | "target" | "either";
  /** The new timeline leaves the winner's history before its end: its history slot says so. */
  readonly isCut: boolean;
  /** The source is another cluster's archive: nothing is fenced there, and our own log begins with the new timeline. */
  readonly fromElsewhere: boolean;
  /** recovery_target_… */
  readonly recovery: Parameters;
}

export interface Promoted {
  readonly server: Server;
  readonly logTerm: LogTerm;
  readonly promotion: string;
}

/** Replays, fences, replays the rest, promotes. The server runs on, doors closed; the history slot is still owed. */
export async function replayAndPromote(node: NodeContext, verbs: Verbs, plan: ReplayPlan): Promise<Promoted> {
  const { paths, postgres, state, stop, log } = node;
  const { dataDirectory } = paths;
  const signal = stop.stopping;
  const ended = new AbortController();
  const command = new RestoreCommand({
    source: plan.source,
    target: plan.path,
    situation: "restore",
    dataDirectory,
    spool: node.settings.prefetchDirectory,
    signal: AbortSignal.any([signal, ended.signal]),
  });
  const undo = verbs.set("restore", async ([name = "", path = ""], inner) => {
    const { exit, sentence } = await answerRestore(command, { name, path }, inner);
    return { exit, lines: exit === 0 ? [] : [sentence] };
  });
  try {
    await writeSignalFiles(node);
    const recovery = { recovery_target_timeline: String(lastStep(plan.path).timeline), ...plan.recovery };
    const server = await postgres.start({
      role: { ...NO_ROLE, recovery },
      recovers: true,
      fromElsewhere: true,
      archives: true,
    });
    try {
      state.set({ postgresStarts: postgres.starts });
      await server.ready(signal, (status) =>
        state.enter("restoring", `replaying: Postgres is ${status ?? "starting"}`),
      );
      const claim = await replayBehindFence(node, plan, command, server);
      const promotion = randomToken();
      const logTerm = await promoteBehindFence(node, plan, claim, server, promotion);
      return { server, logTerm, promotion };
    } catch (error) {
      await server.stop({ fastMs: 5_000, immediateMs: 5_000, hurry: stop.hurry });
      throw error;
    }
  } finally {
    undo();
    ended.abort(new Error("the replay is over"));
    await command.close();
    log.debug("the replay is over", { ...command.status() });
  }
}

/** standby.signal, never recovery.signal: that one promotes by itself at the first "absent" (G2). */
async function writeSignalFiles({ paths, owner }: NodeContext): Promise<void> {
  const path = join(paths.dataDirectory, "standby.signal");
  await writeDurably(path, "");
  if (owner !== null) await chown(path, owner.uid, owner.gid);
  await rm(join(paths.dataDirectory, "recovery.signal"), { force: true });
}

/** Replays to the log's end, sees that the log is still, fences, replays what came in between. */
async function replayBehindFence(
  node: NodeContext,
  plan: ReplayPlan,
  command: RestoreCommand,
  server: Server,
): Promise<Claim> {
  const { settings, store, codec, stop, clock, log, random } = node;
  const signal = stop.stopping;
  const view = await replayUntilStill(node, plan, server);
  const claim = await takeOver(store, {
    identity: { systemId: plan.source.systemId!, segmentBytes: plan.source.segmentBytes },
    purpose: "restore",
    node: settings.nodeName,
    fencing: await node.fencing(signal),
    cipher: codec.cipher,
    clock,
    log,
    signal,
    random,
    known: plan.fromElsewhere ? null : view,
  });
  if (!plan.fromElsewhere) await replayTo(node, plan, claim.view, server);
  await command.freeze(plan.fromElsewhere ? view : claim.view);
  return claim;
}

/** Replays to the end that is there, until no more comes (G6). Another cluster's log may grow as it likes. */
async function replayUntilStill(
  node: NodeContext,
  plan: ReplayPlan,
  server: Server,
): Promise<LogView | null> {
  const { stop, clock, log, state } = node;
  const signal = stop.stopping;
  let view = await readSourceLog(plan.source, signal);
  let lookedMs = clock.monotonicMs();
  for (;;) {
    await replayTo(node, plan, view, server);
    if (plan.fromElsewhere) return view;
    const waitMs = STILL_MS - (clock.monotonicMs() - lookedMs);
    if (waitMs > 0) await clock.sleep(waitMs, signal);
    const now = await readSourceLog(plan.source, signal, view);
    lookedMs = clock.monotonicMs();
    if (now?.firstFree === view?.firstFree) return now;
    view = now;
    state.enter("restoring", "the log still grows: a primary lives, or a late write landed");
    log.warn("the log still grows: not fencing yet");
  }
}

/** Waits until Postgres replayed to where the plan ends, as of this view; no deadline. */
async function replayTo(
  node: NodeContext,
  plan: ReplayPlan,
  view: LogView | null,
  server: Server,
): Promise<void> {
  const { stop, clock, state, postgres, log } = node;
  const end = view?.tip?.end ?? null;
  const isTip = view?.tip?.timeline === lastStep(plan.path).timeline;
  const reader = new PathReader(plan.source, view, plan.path);
  const target = end === null || !isTip ? null : (await reader.recordEnd(end, plan.floor, stop.stopping)).at;
  await withSql(await postgres.address("holdfast restore"), async (sql) => {
    let seen: Lsn | null = null;
    let since = clock.monotonicMs();
    for (let toldMs = 0; ;) {
      stop.stopping.throwIfAborted();
      if (!server.running)
        throw new ReplayError("Postgres ended while it replayed", "read its last lines above");
      const { replayed, replayPaused } = await walPositions(sql);
      const nowMs = clock.monotonicMs();
      if (replayed !== seen) {
        seen = replayed;
        since = nowMs;
      }
      const verdict = judgeReplay(plan, { replayed, target, isPaused: replayPaused, restMs: nowMs - since });
      if (verdict === "done") return;
      if (verdict !== "wait") throw new ReplayError(verdict.fault, "start again: the directory is made anew");
      if (nowMs - toldMs > TELL_EVERY_MS && replayed !== null) {
        toldMs = nowMs;
        const of = target === null ? "" : ` of ${formatLsn(target)}`;
        state.enter("restoring", `replayed to ${formatLsn(replayed)}${of}`);
        log.info("replaying", {
          replayed: formatLsn(replayed),
          end: target === null ? null : formatLsn(target),
        });
      }
      await clock.sleep(POLL_MS, stop.stopping);
    }
  });
}

/** Where a replay stands. */
export interface ReplaySample {
  readonly replayed: Lsn | null;
  /** The last record of what is there; null where only the replay itself tells. */
  readonly target: Lsn | null;
  /** Postgres reached its recovery target and paused. */
  readonly isPaused: boolean;
  /** Milliseconds since the position last moved. */
  readonly restMs: number;
}

/** Is the replay over? A target that was not reached is an error, never a promotion (G6). Pure. */
export function judgeReplay(
  plan: Pick<ReplayPlan, "ending" | "hasOwnWal">,
  { replayed, target, isPaused, restMs }: ReplaySample,
): "done" | "wait" | { readonly fault: string } {
  if (isPaused) return plan.ending === "drain" ? { fault: "somebody paused the replay" } : "done";
  if (replayed === null) return "wait";
  const rests = restMs > SETTLED_MS;
  // An archive without a log, or own WAL behind its end: the replay is over when it stays where it is.
  const drained = target === null || (plan.hasOwnWal && replayed >= target) ? rests : replayed === target;
  if (!drained && target !== null && replayed > target && !plan.hasOwnWal)
    return {
      fault: `Postgres replayed to ${formatLsn(replayed)}, past the log's last record at ${formatLsn(target)}`,
    };
  if (!drained) return "wait";
  if (plan.ending !== "target") return "done";
  return rests ? { fault: `the target was not reached; the replay ended at ${formatLsn(replayed)}` } : "wait";
}

/** Promotes and checks where the new timeline forks: Postgres guards none of this (G2). */
async function promoteBehindFence(
  node: NodeContext,
  plan: ReplayPlan,
  claim: Claim,
  server: Server,
  promotion: string,
): Promise<LogTerm> {
  const { postgres, paths, log } = node;
  const folder = pgWal(paths.dataDirectory);
  const timeline = await withSql(await postgres.address("holdfast restore"), async (sql) => {
    await promote(sql, { timeoutMs: Infinity });
    // No deadline: the end-of-recovery record may wait for a slow disk.
    while (await isInRecovery(sql)) {
      if (!server.running)
        throw new ReplayError("Postgres ended while it promoted", "read its last lines above");
      await node.clock.sleep(POLL_MS, node.stop.stopping);
    }
    return await currentTimeline(sql);
  });
  const path = await pathFromFiles(folder, timeline);
  const fork = lastStep(path).begin;
  const { tip, lastTimeline } = claim.view;
  if (timeline <= lastTimeline && !plan.fromElsewhere) {
    throw new ReplayError(
      `Postgres chose timeline ${timeline}, and the log has accepted ${lastTimeline}`,
      "start again: the seed is made anew",
    ); // G4
  }
  if (tip !== null && !plan.hasOwnWal && !plan.isCut) {
    const reader = new PathReader(plan.source, claim.view, plan.path);
    const wanted = (await reader.recordEnd(tip.end, plan.floor, node.stop.stopping)).at;
    if (fork !== wanted) {
      throw new ReplayError(
        `Postgres forked at ${formatLsn(fork)}, not at the log's last record at ${formatLsn(wanted)}`,
        "start again: the seed is made anew",
      );
    }
  }
  log.info("promoted", { timeline, fork: formatLsn(fork) });
  invariant(server.running, "the promoted server runs");
  const parentPath = path.slice(0, -1);
  return LogTerm.bringing(node, claim, await readControlFile(paths.dataDirectory), path, {
    backfill: tip !== null && !plan.isCut && fork > tip.end ? { from: tip.end, to: fork } : null,
    change: {
      timeline,
      parent: lastStep(parentPath).timeline,
      fork,
      promotion,
      cut: plan.isCut,
      body: await readFile(join(folder, historyName(timeline))),
    },
    isGenesis: tip === null,
  });
}

/** A replay that did not end where it had to. */
export class ReplayError extends AppError {
  constructor(message: string, hint: string) {
    super(message, { code: "REPLAY", hint });
  }
}

/** A living primary puts a slot a second; so long without one, and the log is taken for still (evidence, not safety). */
const STILL_MS = 2_500;
const SETTLED_MS = 2_000;
const POLL_MS = 50;
const TELL_EVERY_MS = 5_000;
