// Performs a replay to its end: replayed, still, fenced, the rest replayed, promoted, checked (G2, G6). Nothing opens before the history slot.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fillHistories } from "../archive/local-histories.ts";
import { pathFromFiles, pgWal } from "../archive/local-wal.ts";
import { RestoreCommand } from "../archive/restore-command.ts";
import { currentTimeline, isInRecovery, promote } from "../postgres/queries.ts";
import { ServerError } from "../postgres/server-error.ts";
import type { LogView } from "../tail/read.ts";
import { type Claim, randomToken } from "../tail/take-over.ts";
import { formatLsn, type Lsn } from "../wal/lsn.ts";
import { historyName } from "../wal/segment-name.ts";
import { lastStep } from "../wal/timeline-path.ts";
import { type ArchiveEnd, EndFinder } from "./archive-end.ts";
import { Replay } from "./replay.ts";
import { ReplayError } from "./replay-error.ts";
import type { PromotedReplay, ReplayHost, ReplayOrder } from "./replay-order.ts";

/**
 * Replays and promotes. The server runs on with closed doors; the caller hands `claim` and `change` to the streamer, opens the doors when the
 * history slot is accepted, and writes the mark of completion last: without it the next boot starts over. Throws ReplayError; the server is
 * stopped then.
 */
export async function performRestore(order: ReplayOrder, host: ReplayHost): Promise<PromotedReplay> {
  const over = new AbortController();
  const command = new RestoreCommand({
    source: order.source,
    target: order.path,
    situation: order.hasOwnWal ? "catch-up" : "restore",
    dataDirectory: host.dataDirectory,
    spool: host.spool,
    ...(host.patience === undefined ? {} : { patience: host.patience }),
    signal: AbortSignal.any([host.signal, over.signal]),
  });
  const unroute = host.route(command);
  const replay = new Replay(order, host, command);
  try {
    await replay.start();
    const { ended, claim } = await replayBehindFence(order, host, command, replay);
    return await promoteBehindFence(order, host, replay, claim, ended);
  } catch (error) {
    await replay.stop();
    throw error;
  } finally {
    unroute();
    over.abort(new Error("the replay is over"));
    await command.close();
  }
}

/** How the replay ended: by its target, or at the end of everything, whose last record ends at `recordEnd`. */
interface ReplayEnd {
  readonly by: "target" | "end";
  readonly recordEnd: Lsn;
  readonly isPromoted: boolean;
}

async function replayBehindFence(
  order: ReplayOrder,
  host: ReplayHost,
  command: RestoreCommand,
  replay: Replay,
): Promise<{ readonly ended: ReplayEnd; readonly claim: Claim }> {
  const finder = new EndFinder(order);
  const { ended, end } = await replayUntilStill(order, host, finder, replay);
  for (;;) {
    const objection = await host.objection();
    if (objection === null) break;
    replay.tell("waiting", `not fencing: ${objection}`);
    await host.clock.sleep(OBJECTION_MS, host.signal);
  }
  replay.tell("fencing", "taking the log over");
  const claim = await host.fence(order.fromElsewhere ? null : end.view);
  if (order.fromElsewhere) return { ended, claim };
  await command.freeze(logOf(claim.view));
  if (ended.by === "target") return { ended, claim };
  // What was accepted between the last look and the fence.
  const { recordEnd } = await finder.at(logOf(claim.view), host.signal);
  requireNotPast(await replay.until(recordEnd), recordEnd);
  return { ended: { ...ended, recordEnd }, claim };
}

/** A claim on a prefix that never had WAL in its log says nothing of where the archive ends. */
const logOf = (view: LogView): LogView | null => (view.tip === null ? null : view);

/** Replays to the target, or to the end that is there until no more comes (G6). Another cluster's log may grow as it likes. */
async function replayUntilStill(
  order: ReplayOrder,
  host: ReplayHost,
  finder: EndFinder,
  replay: Replay,
): Promise<{ readonly ended: ReplayEnd; readonly end: ArchiveEnd }> {
  const { clock, signal, log, stillMs = STILL_MS } = host;
  let end = await finder.find(signal);
  let changedMs = clock.monotonicMs();
  for (;;) {
    const how = await replay.until(end.recordEnd);
    const now = await finder.find(signal);
    if (how.kind === "paused" || how.kind === "promoted") {
      const isPromoted = how.kind === "promoted";
      return { ended: { by: "target", recordEnd: now.recordEnd, isPromoted }, end: now };
    }
    if (!order.fromElsewhere) requireNotPast(how, now.recordEnd);
    const isSame = now.end === end.end && now.view?.firstFree === end.view?.firstFree;
    if (!isSame) {
      log.info("the archive has grown since the last look", { end: formatLsn(now.end) });
      changedMs = clock.monotonicMs();
      end = now;
      continue;
    }
    const waitMs = order.fromElsewhere ? 0 : stillMs - (clock.monotonicMs() - changedMs);
    if (waitMs <= 0) {
      // A server that is started again replays from its last restartpoint.
      if (await replay.withoutTarget()) await replay.until(now.recordEnd);
      return { ended: { by: "end", recordEnd: now.recordEnd, isPromoted: false }, end: now };
    }
    replay.tell("waiting", "seeing whether the log is still");
    await clock.sleep(waitMs, signal);
  }
}

/** Bytes that the log never accepted were replayed: this directory must not lead. */
function requireNotPast(how: Awaited<ReturnType<Replay["until"]>>, recordEnd: Lsn): void {
  if (how.kind !== "past" || how.replayed <= recordEnd) return;
  throw new ReplayError(
    `Postgres replayed to ${formatLsn(how.replayed)}, past the last record at ${formatLsn(recordEnd)}`,
    { startOver: true },
  );
}

/** Promotes and checks where the new timeline forks: Postgres guards none of this (G2). */
async function promoteBehindFence(
  order: ReplayOrder,
  host: ReplayHost,
  replay: Replay,
  claim: Claim,
  ended: ReplayEnd,
): Promise<PromotedReplay> {
  const { log, dataDirectory } = host;
  const folder = pgWal(dataDirectory);
  const promotion = randomToken(); // G4
  replay.tell("promoting", "Postgres is promoted");
  const timeline = await promoted(host, replay, ended.isPromoted);
  const path = await pathFromFiles(folder, timeline);
  const fork = lastStep(path).begin;
  const parent = path.at(-2)?.timeline ?? 0;
  const { tip, lastTimeline } = claim.view;
  const refuse = (because: string): never => {
    throw new ReplayError(because, { startOver: true });
  };
  if (timeline <= lastTimeline && !order.fromElsewhere) {
    refuse(`Postgres chose timeline ${timeline}, and the log has accepted ${lastTimeline}`); // G4
  }
  if (parent !== order.timeline) refuse(`timeline ${timeline} leaves ${parent}, not ${order.timeline}`);
  if (ended.by === "end" && !order.hasOwnWal && !order.fromElsewhere && fork !== ended.recordEnd) {
    refuse(
      `Postgres forked at ${formatLsn(fork)}, not at the last record's end at ${formatLsn(ended.recordEnd)}`,
    );
  }
  const cut = !(ended.by === "end" && order.isWinners);
  log.info("promoted", { timeline, parent, fork: formatLsn(fork), cut });
  await fillHistories(folder, order.source, claim.view, timeline, host.signal);
  const body = await readFile(join(folder, historyName(timeline)));
  return {
    server: replay.server,
    claim,
    path,
    change: { timeline, parent, fork, promotion, cut, body },
    backfill: tip !== null && !cut && fork > tip.end ? { from: tip.end, to: fork } : null,
    isGenesis: tip === null,
  };
}

/** Asks for the promotion and waits until it is done; no deadline: the end-of-recovery record may wait for a slow disk. */
async function promoted(host: ReplayHost, replay: Replay, isDone: boolean): Promise<number> {
  const { sql, clock, signal } = host;
  if (!isDone) await promote(sql, { signal });
  for (;;) {
    if (!replay.server.running)
      throw new ReplayError("Postgres ended while it promoted", { startOver: true });
    try {
      if (!(await isInRecovery(sql, { signal }))) return await currentTimeline(sql, { signal });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** A living primary puts a slot a second; so long without one, and the log is taken for still (evidence, not safety). */
const STILL_MS = 2_500;
const OBJECTION_MS = 1_000;
const POLL_MS = 50;
