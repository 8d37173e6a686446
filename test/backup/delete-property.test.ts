// Nothing that a kept backup needs is ever removed: over generated histories with timelines, deltas and permanent backups,
// by every way of deleting, also when the deletion is stopped at any of its steps.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { silentLog } from "../../src/base/log.ts";
import { type BackupFacts, comparePlaces, placeIn } from "../../src/backup/backup-facts.ts";
import { executeDeletion } from "../../src/backup/delete.ts";
import {
  type DeletePlan,
  planBackups,
  planBefore,
  planGarbage,
  planKeeping,
} from "../../src/backup/delete-plan.ts";
import {
  beforeTarget,
  DeleteError,
  garbageTarget,
  retainTarget,
  targetFamily,
} from "../../src/backup/delete-target.ts";
import { backupsToKeep } from "../../src/backup/retention.ts";
import { lsnOf } from "../../src/wal/lsn.ts";
import { segmentName } from "../../src/wal/segment-name.ts";

const SEGMENT_BYTES = 1 << 20;

interface History {
  readonly keys: readonly string[];
  readonly backups: readonly BackupFacts[];
  /** Timeline, its parent and the segment of the fork. */
  readonly timelines: readonly {
    readonly id: number;
    readonly parent: number;
    readonly fork: bigint;
    readonly last: bigint;
  }[];
}

const name24 = (timeline: number, number: bigint): string => segmentName({ timeline, number }, SEGMENT_BYTES);

/** Timelines that fork off each other, backups on them in any order of time, WAL without a hole. */
const histories: fc.Arbitrary<History> = fc
  .record({
    forks: fc.array(
      fc.record({
        parent: fc.nat(5),
        at: fc.integer({ min: 2, max: 30 }),
        length: fc.integer({ min: 1, max: 30 }),
      }),
      { maxLength: 4 },
    ),
    firstLength: fc.integer({ min: 5, max: 40 }),
    backups: fc.array(
      fc.record({
        timeline: fc.nat(5),
        at: fc.integer({ min: 0, max: 40 }),
        span: fc.integer({ min: 0, max: 2 }),
        base: fc.option(fc.nat(10)),
        isPermanent: fc.boolean().map((chosen) => chosen),
        permanentDie: fc.nat(4),
        skew: fc.integer({ min: -5, max: 5 }),
      }),
      { minLength: 1, maxLength: 10 },
    ),
    orphanAt: fc.integer({ min: 1, max: 40 }),
  })
  .map(build);

interface Drawn {
  readonly forks: readonly { readonly parent: number; readonly at: number; readonly length: number }[];
  readonly firstLength: number;
  readonly backups: readonly {
    readonly timeline: number;
    readonly at: number;
    readonly span: number;
    readonly base: number | null;
    readonly permanentDie: number;
    readonly skew: number;
  }[];
  readonly orphanAt: number;
}

function build(drawn: Drawn): History {
  const timelines = [{ id: 1, parent: 0, fork: 1n, last: BigInt(drawn.firstLength) }];
  for (const { parent, at, length } of drawn.forks) {
    const from = timelines[parent % timelines.length]!;
    const fork = from.fork + (BigInt(at) % (from.last - from.fork + 1n));
    timelines.push({ id: timelines.length + 1, parent: from.id, fork, last: fork + BigInt(length) });
  }
  const backups = backupsOf(drawn, timelines);
  const keys = [
    ...backups.flatMap(({ name }) => objectsOf(name)),
    ...timelines.flatMap(({ id, fork, last }) => {
      const segments: string[] = [];
      for (let number = fork; number <= last; number += 1n)
        segments.push(`wal_005/${name24(id, number)}.lz4`);
      return id === 1
        ? segments
        : [...segments, `wal_005/${id.toString(16).toUpperCase().padStart(8, "0")}.history.lz4`];
    }),
    `basebackups_005/base_${name24(1, BigInt(drawn.orphanAt))}_D_${name24(1, 1n)}/tar_partitions/part_001.tar.lz4`,
    ...UNTOUCHABLE,
  ];
  return { keys, backups, timelines };
}

const UNTOUCHABLE = [
  "tail_v1/log/00000000000000000001",
  "tail_v1/base/00000000000000000001",
  "tail_v1/000000010000000000000001",
  "other/000000010000000000000001/file",
];

function objectsOf(name: string): readonly string[] {
  return [
    `basebackups_005/${name}_backup_stop_sentinel.json`,
    `basebackups_005/${name}/metadata.json`,
    `basebackups_005/${name}/holdfast_manifest.json`,
    `basebackups_005/${name}/tar_partitions/part_001.tar.lz4`,
    `basebackups_005/${name}/tar_partitions/pg_control.tar.lz4`,
  ];
}

function backupsOf(drawn: Drawn, timelines: History["timelines"]): readonly BackupFacts[] {
  const backups: BackupFacts[] = [];
  for (const [index, draw] of drawn.backups.entries()) {
    const timeline = timelines[draw.timeline % timelines.length]!;
    const segment = timeline.fork + (BigInt(draw.at) % (timeline.last - timeline.fork + 1n));
    const end = segment + BigInt(draw.span) > timeline.last ? timeline.last : segment + BigInt(draw.span);
    const candidates = backups.filter((other) => isAncestor(other, timeline.id, segment, timelines));
    const base = draw.base === null ? undefined : candidates[draw.base % Math.max(1, candidates.length)];
    const suffix = base === undefined ? "" : `_D_${name24(base.timeline, base.segment)}`;
    const name = `base_${name24(timeline.id, segment)}${suffix}`;
    if (backups.some((other) => name24(other.timeline, other.segment) === name24(timeline.id, segment)))
      continue;
    const at = BigInt(index * 3 + draw.skew + 10) * 1_000_000_000n;
    backups.push({
      name,
      timeline: timeline.id,
      segment,
      modifiedNs: at + 1n,
      startedNs: at,
      finishedNs: at + 1n,
      startLsn: lsnOf(segment * BigInt(SEGMENT_BYTES) + 40n),
      finishLsn: lsnOf(end * BigInt(SEGMENT_BYTES) + 300n),
      permanent: draw.permanentDie === 0,
      base: base?.name ?? null,
      full: base === undefined ? null : (base.full ?? base.name),
      userData: null,
    });
  }
  return backups;
}

/** True when `backup` lies on the path to `segment` of `timeline`, before it. */
function isAncestor(
  backup: BackupFacts,
  timeline: number,
  segment: bigint,
  timelines: History["timelines"],
): boolean {
  for (let [at, limit] = [timelines[timeline - 1]!, segment]; ;) {
    if (backup.timeline === at.id) return backup.segment < limit;
    if (at.parent === 0) return false;
    [limit, at] = [at.fork, timelines[at.parent - 1]!];
  }
}

/** What is needed to restore a backup: chain, its own WAL, and with `onward` all WAL of every path from it on. */
function neededKeys(backup: BackupFacts, history: History, onward: boolean): readonly string[] {
  const needed: string[] = [];
  for (let at: BackupFacts | undefined = backup; at !== undefined;) {
    needed.push(...objectsOf(at.name));
    const { base }: BackupFacts = at;
    at = base === null ? undefined : history.backups.find(({ name }) => name === base);
    if (base !== null) assert.ok(at !== undefined);
  }
  const first = backup.startLsn! / BigInt(SEGMENT_BYTES);
  const last = backup.finishLsn! / BigInt(SEGMENT_BYTES);
  for (const key of history.keys.filter((key) => key.startsWith("wal_005/"))) {
    const place = placeIn(key, SEGMENT_BYTES);
    if (place === null) {
      needed.push(key);
      continue;
    }
    const isOwn = place.timeline === backup.timeline && place.segment >= first && place.segment <= last;
    const continues =
      place.timeline === backup.timeline
        ? place.segment >= first
        : isAncestor(backup, place.timeline, place.segment + 1n, history.timelines) &&
          place.segment >= timelineFork(place.timeline, history);
    if (isOwn || (onward && continues)) needed.push(key);
  }
  return needed;
}

const timelineFork = (timeline: number, { timelines }: History): bigint => timelines[timeline - 1]!.fork;

interface Way {
  readonly label: string;
  readonly plan: (
    history: History,
  ) => { readonly plan: DeletePlan; readonly isOnward: (backup: BackupFacts) => boolean } | null;
}

const ways: fc.Arbitrary<Way> = fc.oneof(
  fc
    .record({
      count: fc.integer({ min: 1, max: 6 }),
      modifier: fc.constantFrom(null, "FULL", "FIND_FULL"),
      byStartTime: fc.boolean(),
      after: fc.option(fc.nat(40)),
    })
    .map(({ count, modifier, byStartTime, after }): Way => ({
      label: `retain ${modifier} ${count} byStartTime=${byStartTime} after=${after}`,
      plan: (history) => {
        const point = after === null ? null : ({ kind: "time", ns: BigInt(after) * 1_000_000_000n } as const);
        const target = retainTarget(history.backups, count, modifier, point, { byStartTime });
        return target === null
          ? null
          : {
              plan: planBefore(target, inputOf(history), { byStartTime }),
              isOnward: fromOn(target, byStartTime),
            };
      },
    })),
  fc
    .record({ at: fc.nat(40), modifier: fc.constantFrom(null, "FIND_FULL"), byStartTime: fc.boolean() })
    .map(({ at, modifier, byStartTime }): Way => ({
      label: `before ${at} ${modifier} byStartTime=${byStartTime}`,
      plan: (history) => {
        const point = { kind: "time", ns: BigInt(at) * 1_000_000_000n } as const;
        const target = beforeTarget(history.backups, point, modifier, { byStartTime });
        return target === null
          ? null
          : {
              plan: planBefore(target, inputOf(history), { byStartTime }),
              isOnward: fromOn(target, byStartTime),
            };
      },
    })),
  fc.constant<Way>({
    label: "garbage",
    plan: (history) => {
      const target = garbageTarget(history.backups);
      return target === null ? null : onward(planGarbage(target, inputOf(history)));
    },
  }),
  fc
    .record({ index: fc.nat(10), modifier: fc.constantFrom(null, "FIND_FULL") })
    .map(({ index, modifier }): Way => ({
      label: `target ${index} ${modifier}`,
      plan: (history) => {
        const name = history.backups[index % history.backups.length]?.name ?? "none";
        const family = targetFamily(history.backups, name, modifier);
        return onward(planBackups(new Set(family.map((backup) => backup.name)), inputOf(history)));
      },
    })),
  fc
    .record({ fullBackups: fc.integer({ min: 1, max: 4 }), windowS: fc.nat(40) })
    .map(({ fullBackups, windowS }): Way => ({
      label: `policy ${fullBackups} ${windowS}s`,
      plan: (history) => {
        const keep = backupsToKeep(history.backups, { fullBackups, windowMs: windowS * 1000 }, 50_000);
        return { plan: planKeeping(keep, inputOf(history)), isOnward: ({ name }) => keep.has(name) };
      },
    })),
);

const inputOf = ({
  keys,
  backups,
}: History): { keys: readonly string[]; backups: readonly BackupFacts[]; segmentBytes: number } => ({
  keys,
  backups,
  segmentBytes: SEGMENT_BYTES,
});

/** All that is not permanent keeps its way to the end of the WAL. */
const onward = (plan: DeletePlan): { plan: DeletePlan; isOnward: (backup: BackupFacts) => boolean } => ({
  plan,
  isOnward: (backup) => !backup.permanent,
});

/** Backups from the target on; an older one that stays is there for the sake of others only. */
const fromOn =
  (target: BackupFacts, byStartTime: boolean) =>
  (backup: BackupFacts): boolean =>
    !backup.permanent &&
    (byStartTime ? backup.startedNs! >= target.startedNs! : comparePlaces(backup, target) >= 0);

function check(
  history: History,
  left: ReadonlySet<string>,
  isOnward: (backup: BackupFacts) => boolean,
): void {
  for (const key of UNTOUCHABLE) assert.ok(left.has(key), `removed ${key}`);
  for (const backup of history.backups) {
    const isKept = left.has(`basebackups_005/${backup.name}_backup_stop_sentinel.json`);
    if (backup.permanent) assert.ok(isKept, `removed the permanent ${backup.name}`);
    if (!isKept) continue;
    for (const key of neededKeys(backup, history, isOnward(backup))) {
      assert.ok(left.has(key), `${backup.name} is kept and needs ${key}`);
    }
  }
}

test("nothing that a kept backup needs is removed, wherever a deletion stops", async () => {
  let deletions = 0;
  await fc.assert(
    fc.asyncProperty(histories, ways, fc.nat(30), async (history, way, stopAt) => {
      const chosen = attempt(() => way.plan(history));
      if (chosen === null) return;
      deletions += 1;
      const left = new Set(history.keys);
      let calls = 0;
      const store = {
        name: "memory://history",
        get: () => Promise.resolve(null),
        put: () => Promise.reject(new Error("nothing is put back")),
        list: async function* () {},
        delete: (keys: readonly string[]): Promise<void> => {
          // A stop in the middle of a call leaves some of its keys.
          if (calls === stopAt) {
            for (const key of keys.filter((_, index) => index % 2 === 0)) left.delete(key);
            throw new StoppedError();
          }
          calls += 1;
          for (const key of keys) left.delete(key);
          return Promise.resolve();
        },
      };
      const tools = { log: silentLog, signal: new AbortController().signal };
      const whole = await executeDeletion(chosen.plan, store, tools).then(
        () => true,
        (error: unknown) => {
          if (error instanceof StoppedError) return false;
          throw error;
        },
      );
      check(history, left, chosen.isOnward);
      if (whole) return;
      // The next deletion of the same kind leaves what an uninterrupted one would have left.
      const rest = { ...history, keys: history.keys.filter((key) => left.has(key)) };
      const backups = history.backups.filter(({ name }) =>
        left.has(`basebackups_005/${name}_backup_stop_sentinel.json`),
      );
      const again = attempt(() => way.plan({ ...rest, backups }));
      if (again === null) return;
      calls = -1_000_000;
      await executeDeletion(again.plan, store, tools);
      check({ ...history, backups }, left, again.isOnward);
    }),
    { numRuns: Number(process.env["HOLDFAST_PROPERTY_RUNS"] ?? 3000), seed: SEED },
  );
  assert.ok(deletions > 500, `only ${deletions} deletions were tried`);
});

class StoppedError extends Error {}

function attempt<T>(work: () => T | null): T | null {
  try {
    return work();
  } catch (error) {
    if (error instanceof DeleteError) return null;
    throw error;
  }
}

const SEED = Number(process.env["HOLDFAST_SEED"] ?? Date.now() % 1_000_000);
console.log(`seed ${SEED} (HOLDFAST_SEED)`);
