// Which backups and which files are meant: retention, the words of `delete`, masks, and names of databases and tables.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { BackupFacts } from "../../src/backup/backup-facts.ts";
import { beforeTarget, retainTarget, targetFamily } from "../../src/backup/delete-target.ts";
import { databaseFilter, maskFilter } from "../../src/backup/name-filter.ts";
import { backupsToKeep } from "../../src/backup/retention.ts";

const HOUR_MS = 3_600_000;
const nsOf = (hours: number): bigint => BigInt(hours * HOUR_MS) * 1_000_000n;

/** `F` full, `D` a delta of the one before, `P` a permanent full one; an hour apart, each takes half an hour. */
function history(kinds: string): BackupFacts[] {
  const all: BackupFacts[] = [];
  for (const [index, kind] of [...kinds].entries()) {
    const base = kind === "D" ? (all.at(-1) ?? null) : null;
    const own = `0000000100000000${(index + 1).toString(16).padStart(8, "0")}`.toUpperCase();
    all.push({
      name: base === null ? `base_${own}` : `base_${own}_D_${base.name.slice(5, 29)}`,
      timeline: 1,
      segment: BigInt(index + 1),
      modifiedNs: nsOf(index + 0.5),
      startedNs: nsOf(index),
      finishedNs: nsOf(index + 0.5),
      startLsn: null,
      finishLsn: null,
      permanent: kind === "P",
      base: base?.name ?? null,
      full: base === null ? null : (base.full ?? base.name),
      userData: null,
    });
  }
  return all;
}

/** Positions of the backups in their history. */
const places = (all: readonly BackupFacts[], names: Iterable<string>): string =>
  [...names]
    .map((name) => all.findIndex((backup) => backup.name === name))
    .sort((a, b) => a - b)
    .join("");
const kept = (kinds: string, fullBackups: number, windowHours = 0, nowHours = kinds.length): string => {
  const all = history(kinds);
  const policy = { fullBackups, windowMs: windowHours * HOUR_MS };
  return places(all, backupsToKeep(all, policy, nowHours * HOUR_MS));
};

test("retention by count keeps full backups with their deltas, and does not count permanent ones", () => {
  assert.equal(kept("FDFDFD", 1), "45");
  assert.equal(kept("FDFDFD", 2), "2345");
  assert.equal(kept("FDFDFD", 9), "012345");
  assert.equal(kept("FPFPF", 2), "24");
  assert.equal(kept("", 1), "");
});

test("retention by time keeps the backup from which the window's first moment can be restored", () => {
  assert.equal(kept("FFFFFF", 1, 2), "345", "the one that had ended two hours ago, and all later ones");
  assert.equal(kept("FFFFFF", 1, 100), "012345");
  assert.equal(kept("FFFFFF", 5, 1), "12345", "the count is the least");
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("F", "D", "P"), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 4 }),
      fc.nat({ max: 14 }),
      (letters, count, window) => {
        const kinds = `F${letters.join("")}`;
        const all = history(kinds);
        const names = backupsToKeep(
          all,
          { fullBackups: count, windowMs: window * HOUR_MS },
          kinds.length * HOUR_MS,
        );
        const counted = all.filter(({ permanent }) => !permanent);
        const fulls = counted.filter(({ base }) => base === null).slice(-count);
        for (const { name } of fulls) assert.ok(names.has(name), "the newest full ones stay");
        const begin = nsOf(kinds.length - window);
        const anchor = counted.findLast(({ finishedNs }) => finishedNs! <= begin);
        if (window > 0 && anchor !== undefined)
          assert.ok(names.has(anchor.name), "the window's first moment");
      },
    ),
  );
});

const NO_TIME = { byStartTime: false };

test("retain counts backups, with FULL full ones, with FIND_FULL back to the full one", () => {
  const all = history("FDDFDF");
  const retain = (count: number, modifier: "FULL" | "FIND_FULL" | null): string => {
    const target = retainTarget(all, count, modifier, null, NO_TIME);
    return target === null ? "none" : places(all, [target.name]);
  };
  assert.equal(retain(1, null), "5");
  assert.throws(() => retain(2, null), /incremental/);
  assert.equal(retain(3, null), "3");
  assert.equal(retain(2, "FULL"), "3");
  assert.equal(retain(3, "FULL"), "0");
  assert.equal(retain(4, "FULL"), "none");
  assert.equal(retain(2, "FIND_FULL"), "3");
  assert.equal(retain(4, "FIND_FULL"), "0");
});

test("before a name or a time; what is neither is an error, and what lies ahead of all is none", () => {
  const all = history("FDFD");
  const before = (point: Parameters<typeof beforeTarget>[1], modifier: "FIND_FULL" | null = null): string => {
    const target = beforeTarget(all, point, modifier, NO_TIME);
    return target === null ? "none" : places(all, [target.name]);
  };
  assert.equal(before({ kind: "name", name: all[2]!.name }), "2");
  assert.equal(before({ kind: "name", name: all[3]!.name }, "FIND_FULL"), "2");
  assert.throws(() => before({ kind: "name", name: all[3]!.name }), /incremental/);
  assert.throws(() => before({ kind: "name", name: "yesterday" }), /not found/);
  assert.equal(before({ kind: "time", ns: nsOf(1000) }), "none");
});

test("a target takes its deltas with it, or its family; a permanent one is refused", () => {
  const all = history("FDDPF");
  const family = (index: number, modifier: "FIND_FULL" | null): string =>
    places(
      all,
      targetFamily(all, all[index]!.name, modifier).map(({ name }) => name),
    );
  assert.equal(family(1, null), "12");
  assert.equal(family(2, "FIND_FULL"), "012");
  assert.equal(family(4, null), "4");
  assert.throws(() => family(3, null), /permanent/i);
  assert.throws(() => targetFamily(all, "base_X", null), /does not exist/);
});

test("masks are Go's: a star stops at a slash", () => {
  const matches = (mask: string, name: string): boolean => maskFilter(mask)(name);
  assert.ok(matches("global/*", "/global/1262"));
  assert.ok(matches("global/*", "global/1262"), "a remote backup's names have no slash");
  assert.ok(!matches("global/*", "/global/a/b"));
  assert.ok(!matches("*", "/base/1"));
  assert.ok(matches("base/[1-5]/11?", "/base/4/112"));
  assert.ok(!matches("base/[^1-5]/11?", "/base/4/112"));
  assert.ok(matches(String.raw`a\*b`, "/a*b"));
  for (const bad of ["[", "a\\", "[]"]) assert.throws(() => maskFilter(bad), /malformed/, bad);
});

const TABLES = {
  "public.orders": {
    oid: 16_390,
    relfilenode: 16_500,
    subtables: { "public.orders_pkey": { oid: 16_391, relfilenode: 16_391 } },
  },
  "public.other": { oid: 16_395, relfilenode: 16_395 },
  "side.orders": { oid: 16_396, relfilenode: 16_396 },
  "pg_toast.pg_toast_16390": { oid: 16_392, relfilenode: 16_392 },
  "pg_toast.pg_toast_16390_index": { oid: 16_393, relfilenode: 16_393 },
  "pg_catalog.pg_statistic": { oid: 2619, relfilenode: 16_777 },
};
const DATABASES = new Map([
  ["app", { oid: 16_384, tables: TABLES }],
  ["spare", { oid: 16_385, tables: { "public.other": { oid: 16_400, relfilenode: 16_400 } } }],
  ["postgres", { oid: 5, tables: {} }],
]);

test("a table comes with its indexes and its TOAST table; system files and other folders always come", () => {
  const takes = (only: string, name: string): boolean => databaseFilter(only.split(","), DATABASES)(name);
  const files = [16_500, 16_391, 16_392, 16_393, 16_395, 16_396, 16_777].map((file) => `/base/16384/${file}`);
  const taken = (only: string): string =>
    files
      .filter((file) => takes(only, file))
      .map((file) => file.slice(-3))
      .join(" ");
  assert.equal(taken("app/orders"), "500 391 392 393 777");
  assert.equal(taken("app/public.orders"), "500 391 392 393 777");
  assert.equal(taken("app/side.orders"), "396 777");
  assert.equal(taken("app/*.orders"), "500 391 392 393 396 777");
  assert.equal(taken("app"), "500 391 392 393 395 396 777");
  assert.equal(taken("spare,app/other"), "395 777");
  assert.equal(taken("spare"), "777");
  for (const name of [
    "/global/1262",
    "/base/5/16999",
    "/base/16384/PG_VERSION",
    "/base/16385/1259",
    "/pg_xact/0000",
  ])
    assert.ok(takes("app/orders", name), name);
  assert.ok(takes("app/orders", "/base/16384/16500.1") && takes("app/orders", "/base/16384/16500_vm"));
  assert.ok(takes("app/orders", "/pg_tblspc/1/PG_17_2/16384/16500"));
  assert.ok(!takes("app/orders", "/pg_tblspc/1/PG_17_2/16384/16501"));
  for (const bad of ["nothing", "app/nothing", "app/none.orders"])
    assert.throws(() => takes(bad, "/x"), /names nothing in the backup/, bad);
});
