// The files that the server's warnings are about.

import assert from "node:assert/strict";
import { test } from "node:test";
import { filesNamedIn } from "../../src/backup/remote-corruption.ts";

const TABLESPACES = [
  { oid: "16385", location: "/srv/fast disk", bytes: 0 },
  { oid: null, location: null, bytes: 0 },
];
const FILES = new Set(["/base/5/112", "/base/5/11", "/global/1262", "/pg_tblspc/16385/PG_17_2024/5/16390.1"]);
const named = (...warnings: string[]): unknown => [
  ...filesNamedIn(warnings, TABLESPACES, (name) => FILES.has(name)),
];

test("a file is found in the server's words, in any language, and each warning counts", () => {
  assert.deepEqual(
    named(
      'checksum verification failed in file "./base/5/112", block 3: calculated 5F but expected 0',
      "Prüfsummenverifizierung in Datei »./base/5/112« fehlgeschlagen, Block 4: berechnet 5F, erwartet 0",
      'file "./global/1262" has a total of 2 checksum verification failures',
      "3 total checksum verification failures",
    ),
    [
      ["/base/5/112", 2],
      ["/global/1262", 1],
    ],
  );
});

test("a tablespace's file is named by the tablespace's place", () => {
  assert.deepEqual(named('in file "/srv/fast disk/PG_17_2024/5/16390.1", block 3'), [
    ["/pg_tblspc/16385/PG_17_2024/5/16390.1", 1],
  ]);
  assert.deepEqual(named('in file "pg_tblspc/16385/PG_17_2024/5/16390.1", block 3'), [
    ["/pg_tblspc/16385/PG_17_2024/5/16390.1", 1],
  ]);
});

test("a name that only begins like a file's, or that the backup does not hold, is not one", () => {
  assert.deepEqual(named('in file "./base/5/1124"', 'in file "./base/7/112"', "file database/5/112x"), []);
});
