// An empty volume becomes the cluster that the archive holds: plan, backup, replay, a new timeline (design section 5).

import { pathTo, readSourceLog } from "../archive/archive-source.ts";
import { messageOf } from "../base/errors.ts";
import { describeProgress } from "../base/progress.ts";
import { BackupFormatError, BackupMissingError } from "../backup/format-error.ts";
import { fetchBackup } from "../backup/fetch.ts";
import { CodecError } from "../codec/codec-error.ts";
import { markUnfinished, readControlFile } from "../postgres/data-directory.ts";
import { orderOf, type ReplayOrder } from "../recovery/replay-order.ts";
import { planRestore, type RestorePlan } from "../recovery/plan.ts";
import { type ArchiveFacts, readArchive, readPlanFacts } from "../recovery/read-archive.ts";
import type { RestoreRequest } from "../recovery/target.ts";
import { describeWindow } from "../recovery/window.ts";
import { type ObjectStore, StoreError } from "../storage/object-store.ts";
import { readIdentity } from "../tail/cluster-identity.ts";
import { lastStep } from "../wal/timeline-path.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";

/** What is to be restored from where. */
export interface SeedOrder {
  readonly request: RestoreRequest;
  /** Another cluster's archive, read only; null: our own. */
  readonly from: ObjectStore | null;
  readonly work: "seed" | "restore";
}

/** The archive and the plan for an order; nothing is touched. Throws TargetUnreachableError with the window. */
export async function planSeed(
  node: NodeContext,
  { request, from }: SeedOrder,
  damaged: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<{
  readonly plan: RestorePlan;
  readonly archive: ArchiveFacts;
  readonly window: readonly string[];
}> {
  const { settings, store, clock } = node;
  const archiveStore = from ?? store;
  const identity = await readIdentity(archiveStore, signal);
  const segmentBytes = identity?.segmentBytes ?? settings.segmentBytes;
  const source = sourceOf(node, identity?.systemId ?? null, segmentBytes, archiveStore);
  const archive = await readArchive(source, request.timeline, signal, damaged);
  const nowUs = BigInt(clock.now()) * 1000n;
  const facts = await readPlanFacts(archive, request, nowUs, signal);
  return { plan: planRestore(request, facts), archive, window: describeWindow(archive.window) };
}

/**
 * Fetches the newest backup that is sound; PGDATA is marked unfinished from before the first byte. `beforeTouching` runs once the plan
 * stands. Resolves to what must be replayed.
 */
export async function seedFromArchive(
  node: NodeContext,
  order: SeedOrder,
  beforeTouching: () => Promise<void> = async () => undefined,
): Promise<ReplayOrder> {
  const { paths, bulkStore, stop, clock, log, state } = node;
  const damaged = new Set<string>();
  for (;;) {
    const { plan, archive, window } = await planSeed(node, order, damaged, stop.stopping);
    for (const sentence of window) log.info(sentence);
    log.info("restoring", {
      because: plan.because,
      bytes: plan.bytes,
      estimatedSeconds: plan.estimatedSeconds,
    });
    if (damaged.size === 0) await beforeTouching();
    state.enter("restoring", `fetching backup ${plan.backup.name}`);
    await markUnfinished(paths, { work: order.work, beganMs: clock.now(), detail: plan.backup.name });
    try {
      await fetchInto(node, plan, order.from ?? bulkStore);
    } catch (error) {
      if (!isDamage(error)) throw error;
      log.error("a backup is damaged; the next older one is taken", {
        backup: plan.backup.name,
        because: messageOf(error),
      });
      damaged.add(plan.backup.name);
      continue;
    }
    return orderOf(plan, archive, order.from !== null);
  }
}

/** What a directory that was filled by hand, or that holds a stopped primary, must replay. */
export async function planReplay(node: NodeContext): Promise<ReplayOrder> {
  const { paths, stop } = node;
  const control = await readControlFile(paths.dataDirectory);
  const source = sourceOf(node, control.systemId, control.segmentBytes);
  const view = await readSourceLog(source, stop.stopping);
  const path = await pathTo("latest", view, source, stop.stopping);
  return {
    source,
    path,
    timeline: lastStep(path).timeline,
    isWinners: true,
    target: { kind: "latest" },
    ending: "drain",
    floor: control.redo,
    end: view?.tip?.end ?? control.redo,
    hasOwnWal: true,
    fromElsewhere: false,
  };
}

async function fetchInto(node: NodeContext, plan: RestorePlan, store: ObjectStore): Promise<void> {
  const { settings, paths, cipherKey, programs, owner, stop, clock, log, state } = node;
  let toldMs = -Infinity;
  await fetchBackup(
    {
      backup: { kind: "name", name: plan.backup.name },
      directory: paths.dataDirectory,
      tablespaces: { kind: "as-they-were" },
      mask: null,
      only: [],
      ...settings.backup.fetch,
      serverMajor: programs.major,
      owner,
    },
    {
      store,
      cipherKey,
      clock,
      log,
      signal: stop.stopping,
      onProgress: (progress) => {
        if (clock.monotonicMs() - toldMs < TELL_EVERY_MS) return;
        toldMs = clock.monotonicMs();
        state.enter("restoring", `fetching backup ${plan.backup.name}: ${describeProgress(progress)}`);
      },
    },
  );
}

/** What another backup may mend. */
function isDamage(error: unknown): boolean {
  if (error instanceof StoreError) return error.kind === "damaged";
  return (
    error instanceof BackupFormatError || error instanceof BackupMissingError || error instanceof CodecError
  );
}

const TELL_EVERY_MS = 5_000;
