// docs/commands.md and docs/from-wal-g.md name every command, and every difference that the recorded commands showed.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { COMMANDS } from "../../src/cli/commands.ts";
import { completionScript } from "../../src/cli/walg/completion.ts";
import { WALG_COMMANDS } from "../../src/cli/walg/commands.ts";

const commands = await readFile("docs/commands.md", "utf8");
const fromWalg = await readFile("docs/from-wal-g.md", "utf8");

test("every command has a line", () => {
  const leaves = WALG_COMMANDS.filter(
    ({ path }) => !WALG_COMMANDS.some((other) => other.path.startsWith(`${path} `)),
  );
  const missing = leaves.filter(({ path }) => {
    const last = path.split(" ").at(-1)!;
    return !`${commands}${fromWalg}`.includes(path) && !commands.includes(last);
  });
  assert.deepEqual(
    missing.map(({ path }) => path),
    [],
  );
});

test("every command of WAL-G's is offered as holdfast too", () => {
  const offered = new Set(COMMANDS.map(({ name }) => name));
  const tops = new Set(
    WALG_COMMANDS.filter(({ hidden }) => hidden !== true).map(({ path }) => path.split(" ")[0]!),
  );
  assert.deepEqual(
    [...tops].filter((name) => !offered.has(name)),
    [],
  );
});

test("flags of a command are unique, also against those it inherits", () => {
  for (const { path, flags } of WALG_COMMANDS) {
    const above = WALG_COMMANDS.filter((other) => path.startsWith(`${other.path} `)).flatMap(
      (other) => other.flags,
    );
    const all = [...flags, ...above];
    for (const names of [all.map(({ name }) => name), all.flatMap(({ short }) => short ?? [])]) {
      assert.equal(new Set(names).size, names.length, `${path}: ${names.join(" ")}`);
    }
  }
});

test("completion offers words and flags", () => {
  const script = completionScript("wal-g", "bash", [
    { path: "delete", flags: ["confirm"] },
    { path: "delete retain", flags: ["after"] },
  ]);
  assert.match(script, /"delete"\) words="retain --confirm --help"/);
  assert.match(script, /complete -o default -F _wal_g wal-g/);
});
