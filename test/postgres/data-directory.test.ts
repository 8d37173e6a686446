// What a volume holds, by its marks.

import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  clearUnfinished,
  type CompletionMark,
  inspectVolume,
  markComplete,
  markUnfinished,
  readCompletion,
  readUnfinished,
  updateCompletion,
  VolumeError,
  type VolumePaths,
  volumePaths,
} from "../../src/postgres/data-directory.ts";

const CAPTURED = join(import.meta.dirname, "captured", "17");
/** Of the captured control file. */
const SYSTEM = 7711885385220300819n;

async function volume(): Promise<AsyncDisposable & VolumePaths> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-volume-"));
  return { ...volumePaths(folder), [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
async function data(paths: VolumePaths, major = "17"): Promise<void> {
  await mkdir(join(paths.dataDirectory, "global"), { recursive: true });
  await cp(join(CAPTURED, "pg_control"), join(paths.dataDirectory, "global", "pg_control"));
  await writeFile(join(paths.dataDirectory, "PG_VERSION"), `${major}\n`);
}
const mark = (change: Partial<CompletionMark> = {}): CompletionMark => ({
  systemId: SYSTEM,
  role: "primary",
  promotionId: null,
  origin: "initdb",
  writtenMs: 1,
  ...change,
});
const unfinished = { work: "seed", beganMs: 5, detail: "base_000000010000000000000002" } as const;

test("nothing, an empty folder, lost+found, our own folder without marks: empty", async () => {
  await using paths = await volume();
  assert.equal((await inspectVolume(paths, 17)).kind, "empty");
  await mkdir(paths.dataDirectory);
  assert.equal((await inspectVolume(paths, 17)).kind, "empty");
  await mkdir(join(paths.volume, "lost+found"));
  await mkdir(join(paths.dataDirectory, "lost+found"));
  await mkdir(paths.marks);
  assert.equal((await inspectVolume(paths, 17)).kind, "empty");
});

test("a data directory without a mark is not taken for a whole one, but its control file is shown", async () => {
  await using paths = await volume();
  await data(paths);
  const state = await inspectVolume(paths, 17);
  assert.ok(state.kind === "unmarked");
  assert.equal(state.control?.systemId, SYSTEM);
  assert.equal(state.major, 17);
  await writeFile(join(paths.dataDirectory, "global", "pg_control"), "half");
  const broken = await inspectVolume(paths, 17);
  assert.ok(broken.kind === "unmarked");
  assert.deepEqual([broken.control, broken.because], [null, "pg_control holds 4 bytes, not at least 296"]);
});

for (const role of ["primary", "standby"] as const) {
  test(`with its mark it was a ${role}`, async () => {
    await using paths = await volume();
    await data(paths);
    await markComplete(paths, mark({ role, promotionId: "p-1" }));
    const state = await inspectVolume(paths, 17);
    assert.equal(state.kind, `was-${role}`);
    assert.ok(state.kind === "was-primary" || state.kind === "was-standby");
    assert.deepEqual(state.mark, mark({ role, promotionId: "p-1" }));
    assert.equal(state.control.state, "shut down");
  });
}

test("unfinished work is seen before anything else, and the mark of completion goes with it", async () => {
  await using paths = await volume();
  await data(paths);
  await markComplete(paths, mark());
  await markUnfinished(paths, unfinished);
  assert.deepEqual(await inspectVolume(paths, 17), { kind: "unfinished", mark: unfinished });
  assert.equal(await readCompletion(paths), null);
  await markComplete(paths, mark({ origin: "seed" }));
  assert.equal((await inspectVolume(paths, 17)).kind, "was-primary");
  assert.equal(await readUnfinished(paths), null);
});

test("killed between the two marks, the work still counts as unfinished", async () => {
  await using paths = await volume();
  await data(paths);
  await markUnfinished(paths, unfinished);
  const before = await readFile(join(paths.marks, "unfinished.json"));
  await markComplete(paths, mark());
  await writeFile(join(paths.marks, "unfinished.json"), before);
  assert.equal((await inspectVolume(paths, 17)).kind, "unfinished");
});

test("clearing takes the data and then the mark, and can be repeated", async () => {
  await using paths = await volume();
  await data(paths);
  await markUnfinished(paths, unfinished);
  await clearUnfinished(paths);
  await clearUnfinished(paths);
  assert.equal((await inspectVolume(paths, 17)).kind, "empty");
});

test("another version and another system are told apart from a whole directory", async () => {
  await using paths = await volume();
  await data(paths, "15");
  await markComplete(paths, mark());
  assert.deepEqual(await inspectVolume(paths, 17), { kind: "wrong-version", major: 15 });
  await data(paths);
  await markComplete(paths, mark({ systemId: 12345678901234567890n }));
  assert.deepEqual(await inspectVolume(paths, 17), {
    kind: "foreign",
    because: `the mark belongs to system 12345678901234567890, the data to system ${SYSTEM}`,
  });
});

test("a mark whose data is gone leaves an empty volume", async () => {
  await using paths = await volume();
  await markComplete(paths, mark());
  assert.equal((await inspectVolume(paths, 17)).kind, "empty");
});

test("role and promotion id change alone; without a mark there is nothing to change", async () => {
  await using paths = await volume();
  await assert.rejects(updateCompletion(paths, { role: "standby" }), VolumeError);
  await markComplete(paths, mark({ systemId: 2n ** 64n - 1n }));
  const changed = await updateCompletion(paths, { role: "standby", promotionId: "p-2" });
  assert.deepEqual(changed, mark({ systemId: 2n ** 64n - 1n, role: "standby", promotionId: "p-2" }));
  assert.deepEqual(await readCompletion(paths), changed);
});
