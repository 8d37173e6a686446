// A node whose data may have left the winner's history comes back: it follows, rewinds, or is filled again (G8).

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import { LocalWal, localPath, pgWal } from "../archive/local-wal.ts";
import { PathReader } from "../archive/path-reader.ts";
import { readSourceLog } from "../archive/archive-source.ts";
import { answerRestore, RestoreCommand } from "../archive/restore-command.ts";
import { messageOf } from "../base/errors.ts";
import { decideRejoin, leavesAt, type PathPart, type Rejoin, type RejoinFacts } from "../cluster/rejoin.ts";
import { configPaths } from "../postgres/config-files.ts";
import { markComplete, markUnfinished, readCompletion, readControlFile } from "../postgres/data-directory.ts";
import { REPLICATION_ROLE } from "../postgres/roles.ts";
import { RewindError, rewind } from "../postgres/rewind.ts";
import type { LogView } from "../tail/read.ts";
import { formatLsn, type Lsn, lsnOf, maxLsn, minLsn } from "../wal/lsn.ts";
import { segmentFloor } from "../wal/segment-name.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import type { Cluster } from "./cluster.ts";
import { writeStandbySignal } from "./cluster-standby.ts";
import type { Verbs } from "./front.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import { forgetPromotion, readPromotion } from "./promotion-mark.ts";
import { memberAsideId, moveAside } from "./restore-book.ts";

export type Rejoined =
  /** The directory is a standby's now. */
  | { readonly kind: "standby" }
  /** The directory was put aside or cleared: fill the volume again. */
  | { readonly kind: "empty" }
  | { readonly kind: "again"; readonly because: string };

/** Postgres is not running. `primary` null: nobody leads, the store alone tells. */
export async function rejoin(
  node: NodeContext,
  verbs: Verbs,
  cluster: Cluster,
  primary: string | null,
): Promise<Rejoined> {
  const { paths, log, state, clock, stop } = node;
  const signal = stop.stopping;
  const control = await readControlFile(paths.dataDirectory);
  const source = sourceOf(node, control.systemId, control.segmentBytes);
  let view: LogView | null;
  try {
    view = await readSourceLog(source, signal);
  } catch (error) {
    return { kind: "again", because: `the store does not answer: ${messageOf(error)}` };
  }
  if (view?.tip == null) return { kind: "again", because: "the log is empty" };
  const facts = await gather(node, cluster, view, primary);
  const decision = decideRejoin(facts);
  log.warn(`rejoin: ${decision.kind}`, { because: decision.because, ...divergedFields(decision) });
  state.enter("joining", decision.because);
  switch (decision.kind) {
    case "wait":
      return { kind: "again", because: decision.because };
    case "refuse":
      return { kind: "again", because: decision.because };
    case "follow":
      await becomeStandby(node, view);
      return { kind: "standby" };
    case "rewind":
      if (primary === null) return { kind: "again", because: "no primary to rewind from" };
      try {
        await rewindTo(node, verbs, cluster, primary, view);
        return { kind: "standby" };
      } catch (error) {
        if (!(error instanceof RewindError)) throw error;
        // The directory is half rewound: the mark says so, and it is cleared.
        log.error("the rewind did not succeed; the node is filled again", { because: messageOf(error) });
        return { kind: "empty" };
      }
    case "re-seed":
      await moveAside(paths, memberAsideId("rejoin", clock.now()), clock.now());
      await forgetPromotion(paths);
      return { kind: "empty" };
    default:
      return { kind: "again", because: "nothing to do" };
  }
}

async function gather(
  node: NodeContext,
  cluster: Cluster,
  view: LogView,
  primary: string | null,
): Promise<RejoinFacts> {
  const { paths, stop } = node;
  const control = await readControlFile(paths.dataDirectory);
  const source = sourceOf(node, control.systemId, control.segmentBytes);
  const tip = view.tip!;
  const path = await localPath(paths.dataDirectory);
  const local = new LocalWal(pgWal(paths.dataDirectory), path, control.segmentBytes);
  const recordEnd = await local.walkFrom(control.redo, control.systemId);
  const lead = cluster.mind.views(cluster.nowMs).find(({ name }) => name === primary);
  const mark = await readCompletion(paths);
  const pending = await readPromotion(paths);
  const fork = leavesAt(path, tip.path, recordEnd);
  const reader = new PathReader(source, view, tip.path);
  return {
    localSystemId: control.systemId.toString(),
    systemId: view.identity.systemId.toString(),
    local: parts(path, pending?.promotion ?? mark?.promotionId ?? null),
    accepted: acceptedParts(view),
    recordEnd,
    acceptedEnd: maxLsn(tip.end, lead?.report?.recordEnd ?? tip.end),
    bytes: await compare(
      local,
      reader,
      minLsn(fork ?? recordEnd, tip.end),
      control.segmentBytes,
      stop.stopping,
    ),
    hasSource: lead?.sight.kind === "alive" && lead.report?.accepting === true,
    isWhole: !(await local.hasHole(control.redo, recordEnd)),
  };
}

/** The bytes of the segment that ends at `to`, local against accepted (G8). */
async function compare(
  local: LocalWal,
  reader: PathReader,
  to: Lsn,
  segmentBytes: number,
  signal: AbortSignal,
): Promise<RejoinFacts["bytes"]> {
  const from = segmentFloor(lsnOf(to > 0n ? to - 1n : 0n), segmentBytes);
  const ours: Uint8Array[] = [];
  for await (const piece of local.read(from, to)) ours.push(piece);
  const mine = Buffer.concat(ours);
  try {
    const theirs: Uint8Array[] = [];
    for await (const piece of reader.walSource(signal)(from, to)) theirs.push(piece);
    const accepted = Buffer.concat(theirs);
    const length = Math.min(mine.byteLength, accepted.byteLength);
    // A local segment that is gone says nothing: the walk from REDO came this far without it.
    return Buffer.compare(mine.subarray(0, length), accepted.subarray(0, length)) === 0
      ? "equal"
      : "different";
  } catch {
    return "unknown";
  }
}

/** The mark knows the promotion that made the newest timeline; older ones are told by their bytes. */
const parts = (path: TimelinePath, promotion: string | null): PathPart[] =>
  path.map(({ timeline, begin }, index) => ({
    timeline,
    begin,
    promotion: index > 0 && index === path.length - 1 ? promotion : null,
  }));

function acceptedParts(view: LogView): PathPart[] {
  const tip = view.tip!;
  return tip.path.map(({ timeline, begin }, index) => ({
    timeline,
    begin,
    promotion:
      index === 0
        ? null
        : timeline === tip.timeline
          ? tip.promotion
          : (view.histories.get(timeline)?.header?.promotion ?? null),
  }));
}

/** pg_rewind with the archive's help; whatever it copied, our configuration lies outside the directory. */
async function rewindTo(
  node: NodeContext,
  verbs: Verbs,
  cluster: Cluster,
  primary: string,
  view: LogView,
): Promise<void> {
  const { paths, programs, owner, settings, stop, clock, log } = node;
  const control = await readControlFile(paths.dataDirectory);
  const over = new AbortController();
  const command = new RestoreCommand({
    source: sourceOf(node, control.systemId, control.segmentBytes),
    target: "latest",
    situation: "restore",
    dataDirectory: paths.dataDirectory,
    spool: settings.prefetchDirectory,
    signal: AbortSignal.any([stop.stopping, over.signal]),
  });
  const undo = verbs.set("restore", async ([name = "", path = ""], signal) => {
    const { exit, sentence } = await answerRestore(command, { name, path }, signal);
    return { exit, lines: exit === 0 ? [] : [sentence] };
  });
  try {
    await markUnfinished(paths, { work: "rewind", beganMs: clock.now(), detail: `to ${primary}` });
    const files = configPaths(paths.marks);
    const begunMs = clock.monotonicMs();
    // Left by a kill: its number may be another process by now, and Postgres would refuse to recover.
    await rm(join(paths.dataDirectory, "postmaster.pid"), { force: true });
    await rm(join(paths.dataDirectory, "standby.signal"), { force: true });
    const config = join(files.directory, "rewind.conf");
    const lines = [`include '${files.main}'`, `restore_command = 'holdfast-hook restore %f %p'`, ""];
    await writeDurably(config, lines.join("\n"), 0o600, owner ?? undefined);
    const outcome = await rewind(
      {
        bin: programs.bin,
        dataDirectory: paths.dataDirectory,
        configFile: config,
        source: {
          host: cluster.addressOf(primary) ?? cluster.hostOf(primary),
          port: settings.ports.postgres,
          user: REPLICATION_ROLE,
          passfile: files.passfile,
        },
        user: owner,
        env: { HOLDFAST_SOCKET: settings.socketPath },
      },
      stop.stopping,
    );
    log.warn("rewound", {
      to: primary,
      outcome: outcome.kind,
      tookMs: Math.round(clock.monotonicMs() - begunMs),
    });
    await becomeStandby(node, view);
  } finally {
    undo();
    over.abort(new Error("the rewind is over"));
    await command.close();
  }
}

/** From here on the directory is a standby's, of the accepted promotion (G4). */
export async function becomeStandby(node: NodeContext, view: LogView | null): Promise<void> {
  const { paths, clock } = node;
  const { systemId } = await readControlFile(paths.dataDirectory);
  const mark = await readCompletion(paths);
  await writeStandbySignal(node);
  await markComplete(paths, {
    systemId,
    role: "standby",
    promotionId: view?.tip?.promotion ?? mark?.promotionId ?? null,
    origin: mark?.origin ?? "rejoined",
    writtenMs: clock.now(),
  });
  await forgetPromotion(paths);
}

function divergedFields(decision: Rejoin): Record<string, string> {
  if (decision.kind !== "rewind" && decision.kind !== "re-seed") return {};
  if (decision.diverged === null) return {};
  const { from, to } = decision.diverged;
  return { divergedFrom: formatLsn(from), divergedTo: formatLsn(to) };
}
