// The node around a replay: its Postgres, its socket, its log, its state. What a replay does is recovery/restore.ts.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ArchiveSource } from "../archive/archive-source.ts";
import { fillHistories } from "../archive/local-histories.ts";
import { pgWal } from "../archive/local-wal.ts";
import { answerRestore, type RestoreCommand } from "../archive/restore-command.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { readControlFile } from "../postgres/data-directory.ts";
import type { Parameters } from "../postgres/parameters.ts";
import type { Server } from "../postgres/server.ts";
import { ReconnectingSql } from "../postgres/sql.ts";
import { ReplayError } from "../recovery/replay-error.ts";
import type { ReplayHost, ReplayOrder, ReplayProgress } from "../recovery/replay-order.ts";
import { performRestore } from "../recovery/restore.ts";
import type { LogView } from "../tail/read.ts";
import { type Claim, randomToken, takeOver } from "../tail/take-over.ts";
import { bytesBetween, formatLsn } from "../wal/lsn.ts";
import { historyName } from "../wal/segment-name.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import type { Verbs } from "./front.ts";
import { LogTerm } from "./log-term.ts";
import type { NodeContext } from "./node-context.ts";

export interface Promoted {
  readonly server: Server;
  readonly logTerm: LogTerm;
  readonly promotion: string;
}

/** Replays, fences, promotes. The server runs on with closed doors; its history slot is still owed. Throws ReplayError. */
export async function replayAndPromote(
  node: NodeContext,
  verbs: Verbs,
  order: ReplayOrder,
): Promise<Promoted> {
  const { paths, postgres, state, log } = node;
  await using sql = new ReconnectingSql(await postgres.address("holdfast restore"));
  try {
    const { server, claim, path, change, backfill, isGenesis } = await performRestore(
      order,
      hostOf(node, verbs, order.source, sql),
    );
    log.info("the replay is over", {
      timeline: change.timeline,
      fork: formatLsn(change.fork),
      cut: change.cut,
    });
    const control = await readControlFile(paths.dataDirectory);
    const logTerm = LogTerm.bringing(node, claim, control, path, { change, backfill, isGenesis });
    return { server, logTerm, promotion: change.promotion };
  } finally {
    state.ask({ progress: () => null });
  }
}

/**
 * Starts a directory that was promoted to the last timeline of `path` before the log heard of it, behind a fence of ours. Postgres recovers on that
 * timeline; its history slot is still owed, as a point that an operator asked for (`cut`). Throws ReplayError when the log has moved on.
 */
export async function bringPromoted(
  node: NodeContext,
  source: ArchiveSource,
  path: TimelinePath,
): Promise<Promoted> {
  const { paths, postgres, state, stop } = node;
  const { timeline, begin: fork } = lastStep(path);
  const claim = await fenceForRestore(node, source, null);
  const { tip, lastTimeline } = claim.view;
  if (timeline <= lastTimeline) {
    throw new ReplayError(`the log has accepted timeline ${lastTimeline}, the data is on ${timeline}`, {
      startOver: false,
    });
  }
  const server = await postgres.start({
    role: NO_ROLE,
    recovers: false,
    fromElsewhere: false,
    archives: true,
  });
  try {
    await server.ready(stop.stopping, (status) =>
      state.enter("restoring", `Postgres is ${status ?? "starting"}`),
    );
    const folder = pgWal(paths.dataDirectory);
    await fillHistories(folder, source, claim.view, timeline, stop.stopping);
    const promotion = randomToken();
    const change = {
      timeline,
      parent: path.at(-2)?.timeline ?? 0,
      fork,
      promotion,
      cut: true,
      body: await readFile(join(folder, historyName(timeline))),
    };
    const control = await readControlFile(paths.dataDirectory);
    const brought = { change, backfill: null, isGenesis: tip === null };
    return { server, promotion, logTerm: LogTerm.bringing(node, claim, control, path, brought) };
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

function hostOf(node: NodeContext, verbs: Verbs, source: ArchiveSource, sql: ReconnectingSql): ReplayHost {
  const { settings, paths, postgres, state, stop, clock, log } = node;
  return {
    dataDirectory: paths.dataDirectory,
    spool: settings.prefetchDirectory,
    start: async (recovery: Parameters) => {
      const server = await postgres.start({
        role: { ...NO_ROLE, recovery },
        recovers: true,
        fromElsewhere: true,
        archives: true,
      });
      state.set({ postgresStarts: postgres.starts });
      return server;
    },
    sql,
    route: (command: RestoreCommand) =>
      verbs.set("restore", async ([name = "", path = ""], signal) => {
        const { exit, sentence } = await answerRestore(command, { name, path }, signal);
        return { exit, lines: exit === 0 ? [] : [sentence] };
      }),
    objection: async () => null,
    fence: (known: LogView | null) => fenceForRestore(node, source, known),
    tell: (progress: ReplayProgress) => tell(node, progress),
    clock,
    log,
    signal: AbortSignal.any([stop.stopping, node.interrupts.signal]),
  };
}

async function fenceForRestore(
  node: NodeContext,
  source: ArchiveSource,
  known: LogView | null,
): Promise<Claim> {
  const { settings, store, codec, stop, clock, log, random, paths } = node;
  const { systemId } = await readControlFile(paths.dataDirectory);
  return await takeOver(store, {
    identity: { systemId, segmentBytes: source.segmentBytes },
    purpose: "restore",
    node: settings.nodeName,
    fencing: await node.fencing(stop.stopping),
    cipher: codec.cipher,
    clock,
    log,
    signal: stop.stopping,
    random,
    known,
  });
}

function tell({ state, log }: NodeContext, progress: ReplayProgress): void {
  const { phase, because, replayed, from, to, bytesPerSecond, remainingMs } = progress;
  const at = replayed === null ? "" : ` at ${formatLsn(replayed)} of ${formatLsn(to)}`;
  state.enter("restoring", phase === "replaying" ? "replaying the archive" : because);
  if (phase === "replaying")
    log.info(`replaying${at}`, { because, bytesPerSecond: Math.round(bytesPerSecond) });
  state.ask({
    progress: () => ({
      what: `${phase}${at}`,
      doneBytes: replayed === null || replayed < from ? 0 : bytesBetween(from, replayed),
      totalBytes: to > from ? bytesBetween(from, to) : null,
      bytesPerSecond,
      etaSeconds: remainingMs === null ? null : remainingMs / 1000,
      lsn: replayed,
    }),
  });
}
