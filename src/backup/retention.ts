// How long backups are kept: by number, and by the stretch of time of which every moment must be restorable.

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { type BackupFacts, comparePlaces, inOrder, withDeltas } from "./backup-facts.ts";
import { executeDeletion } from "./delete.ts";
import { backupOf, type DeletePlan, planBackups, planKeeping, unfinishedDeletions } from "./delete-plan.ts";
import { readBackupFacts } from "./read-facts.ts";

export interface RetentionPolicy {
  /** Full backups to keep at least, ≥ 1; their deltas stay with them. Permanent ones do not count. */
  readonly fullBackups: number;
  /** Every moment of so many milliseconds before now stays restorable; 0: only the count decides. */
  readonly windowMs: number;
}

/**
 * Names of the backups that stay for their own sake; what they are built on stays too (see planKeeping). These are: the
 * newest `fullBackups` full ones with their deltas; the newest backup that was complete when the window began, and all
 * later ones. Permanent ones are neither counted nor named: nothing removes them.
 */
export function backupsToKeep(
  backups: readonly BackupFacts[],
  policy: RetentionPolicy,
  nowMs: number,
): ReadonlySet<string> {
  const counted = inOrder(
    backups.filter((backup) => !backup.permanent),
    true,
  );
  const fulls = counted.filter((backup) => backup.base === null);
  const anchors = [
    fulls.at(-Math.max(1, policy.fullBackups)) ?? counted[0],
    policy.windowMs > 0 ? windowAnchor(counted, policy.windowMs, nowMs) : undefined,
  ];
  const firsts = anchors.filter((anchor) => anchor !== undefined).map((anchor) => counted.indexOf(anchor));
  const kept = counted.slice(Math.min(...firsts, counted.length));
  return withDeltas(
    kept.map(({ name }) => name),
    counted,
  );
}

/** The newest backup that had ended when the window began: with it the window's first moment can be restored. */
function windowAnchor(
  counted: readonly BackupFacts[],
  windowMs: number,
  nowMs: number,
): BackupFacts | undefined {
  const beginNs = BigInt(Math.floor(nowMs - windowMs)) * 1_000_000n;
  return counted.findLast((backup) => (backup.finishedNs ?? backup.modifiedNs) <= beginNs) ?? counted[0];
}

export interface RetentionOutcome {
  readonly kept: readonly string[];
  readonly removed: readonly string[];
  /** Objects, WAL included. */
  readonly objects: number;
}

/** What a policy would remove now. */
export interface RetentionPlan {
  readonly plan: DeletePlan;
  readonly kept: readonly string[];
  readonly removed: readonly string[];
}

/** Reads the store and plans; removes nothing. Throws when any backup cannot be read. */
export async function planRetention(
  store: Pick<ObjectStore, "name" | "get" | "list">,
  policy: RetentionPolicy,
  segmentBytes: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<RetentionPlan> {
  const backups = await readBackupFacts(store, segmentBytes, signal);
  const keys: string[] = [];
  for await (const { key } of store.list("", signal)) keys.push(key);
  const kept = backupsToKeep(backups, policy, clock.now());
  const input = { keys, backups, segmentBytes };
  const left = [...unfinishedDeletions(keys)].filter(
    (name) => !backups.some((backup) => backup.name === name),
  );
  const more = planBackups(new Set(left), input);
  const plan = planKeeping(kept, input);
  const gone = new Set(plan.sentinels.map((key) => backupOf(key)));
  const names = backups.toSorted(comparePlaces).map(({ name }) => name);
  return {
    plan: {
      ...plan,
      objects: [...new Set([...plan.objects, ...more.objects])],
      marks: [...new Set([...plan.marks, ...more.marks])],
    },
    kept: names.filter((name) => !gone.has(name)),
    removed: names.filter((name) => gone.has(name)),
  };
}

/** Plans and removes; for the schedule, after each backup. */
export async function applyRetention(
  store: Pick<ObjectStore, "name" | "get" | "list" | "put" | "delete">,
  policy: RetentionPolicy,
  segmentBytes: number,
  tools: { readonly clock: Clock; readonly log: Log; readonly signal: AbortSignal },
): Promise<RetentionOutcome> {
  const { plan, kept, removed } = await planRetention(store, policy, segmentBytes, tools);
  const objects = await executeDeletion(plan, store, tools);
  if (objects > 0) {
    tools.log.info("old backups and WAL removed", { backups: removed.length, objects, kept: kept.length });
  }
  return { kept, removed, objects };
}
