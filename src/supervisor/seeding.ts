// An empty volume becomes the cluster that the archive holds: plan, backup, replay, a new timeline (design section 5).

import { pathTo, readSourceLog } from "../archive/archive-source.ts";
import { messageOf } from "../base/errors.ts";
import { describeProgress } from "../base/progress.ts";
import { BackupFormatError, BackupMissingError } from "../backup/format-error.ts";
import { fetchBackup } from "../backup/fetch.ts";
import { CodecError } from "../codec/codec-error.ts";
import { markUnfinished, readControlFile } from "../postgres/data-directory.ts";
import { planRestore, type RestorePlan } from "../recovery/plan.ts";
import { readArchive, readPlanFacts } from "../recovery/read-archive.ts";
import { LATEST } from "../recovery/target.ts";
import { describeWindow } from "../recovery/window.ts";
import { StoreError } from "../storage/object-store.ts";
import { readIdentity } from "../tail/cluster-identity.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import type { ReplayPlan } from "./replaying.ts";

/** Fetches the newest backup that is sound; PGDATA is marked unfinished from before the first byte. Resolves to what must be replayed. */
export async function seedFromArchive(node: NodeContext): Promise<ReplayPlan> {
  const { settings, paths, store, stop, clock, log, state } = node;
  const signal = stop.stopping;
  const identity = await readIdentity(store, signal);
  const segmentBytes = identity?.segmentBytes ?? settings.segmentBytes;
  const damaged = new Set<string>();
  for (;;) {
    const source = sourceOf(node, identity?.systemId ?? null, segmentBytes);
    const archive = await readArchive(source, "latest", signal, damaged);
    for (const sentence of describeWindow(archive.window)) log.info(sentence);
    const nowUs = BigInt(clock.now()) * 1000n;
    const plan = planRestore(LATEST, await readPlanFacts(archive, LATEST, nowUs, signal));
    log.info("restoring", {
      because: plan.because,
      bytes: plan.bytes,
      estimatedSeconds: plan.estimatedSeconds,
    });
    state.enter("restoring", `fetching backup ${plan.backup.name}`);
    await markUnfinished(paths, { work: "seed", beganMs: clock.now(), detail: plan.backup.name });
    try {
      await fetchInto(node, plan);
    } catch (error) {
      if (!isDamage(error)) throw error;
      log.error("a backup is damaged; the next older one is taken", {
        backup: plan.backup.name,
        because: messageOf(error),
      });
      damaged.add(plan.backup.name);
      continue;
    }
    const control = await readControlFile(paths.dataDirectory);
    return {
      source: sourceOf(node, control.systemId, control.segmentBytes),
      path: plan.path,
      floor: plan.from,
      hasOwnWal: false,
    };
  }
}

/** What a directory that was filled by hand, or that holds a stopped primary, must replay. */
export async function planReplay(node: NodeContext): Promise<ReplayPlan> {
  const { paths, stop } = node;
  const control = await readControlFile(paths.dataDirectory);
  const source = sourceOf(node, control.systemId, control.segmentBytes);
  const view = await readSourceLog(source, stop.stopping);
  const path = await pathTo("latest", view, source, stop.stopping);
  return { source, path, floor: control.redo, hasOwnWal: true };
}

async function fetchInto(node: NodeContext, plan: RestorePlan): Promise<void> {
  const { settings, paths, store, cipherKey, programs, owner, stop, clock, log, state } = node;
  let toldMs = -Infinity;
  await fetchBackup(
    {
      backup: { kind: "name", name: plan.backup.name },
      directory: paths.dataDirectory,
      tablespaces: { kind: "as-they-were" },
      mask: null,
      only: [],
      concurrency: settings.backup.push.concurrency,
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
