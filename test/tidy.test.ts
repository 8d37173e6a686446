// Rules about the code that a linter cannot check: who imports whom, which package has which door, sizes, names.

import assert from "node:assert/strict";
import { globSync, readFileSync, existsSync } from "node:fs";
import { join, posix, resolve } from "node:path";
import { test } from "node:test";

const ROOT = resolve(import.meta.dirname, "..");
const SOURCES = globSync("src/**/*.ts", { cwd: ROOT }).sort();

/** Folder → folders it may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  wal: ["base"],
  codec: ["base"],
  storage: ["base"],
  postgres: ["base", "wal"],
  tail: ["base", "wal", "codec", "storage"],
  archive: ["base", "wal", "codec", "storage", "postgres", "tail"],
  backup: ["base", "wal", "codec", "storage", "postgres"],
  recovery: ["base", "wal", "codec", "storage", "postgres", "tail", "archive", "backup"],
  cluster: ["base", "wal", "postgres", "tail"],
  supervisor: [
    ...["base", "wal", "codec", "storage", "postgres", "tail"],
    ...["archive", "backup", "recovery", "cluster"],
  ],
  cli: [
    ...["base", "wal", "codec", "storage", "postgres", "tail"],
    ...["archive", "backup", "recovery", "cluster", "supervisor"],
  ],
};

/** Package → the files through which it is reached. */
const DOORS: Readonly<Record<string, RegExp>> = {
  "@aws-sdk/client-s3": /^src\/storage\/s3-/,
  pg: /^src\/postgres\/(sql|replication-connection)\.ts$/,
  execa: /^src\/(base\/run-command|supervisor\/process-tree)\.ts$/,
  "lz4-napi": /^src\/codec\//,
  "tar-stream": /^src\/backup\/tar-part\.ts$/,
  "node-cron": /^src\/supervisor\/schedule\.ts$/,
  "prom-client": /^src\/supervisor\/metrics\.ts$/,
  "sodium-native": /^src\/codec\//,
  openpgp: /^src\/codec\//,
  zx: /^scripts\//,
};

interface Import {
  readonly file: string;
  readonly specifier: string;
}

const imports: readonly Import[] = SOURCES.flatMap((file) =>
  [...readFileSync(join(ROOT, file), "utf8").matchAll(/\b(?:from|import\()\s*"([^"]+)"/g)].map((match) => ({
    file,
    specifier: match[1]!,
  })),
);

test("a folder imports only what the table allows", () => {
  const wrong = imports
    .filter(({ specifier }) => specifier.startsWith("."))
    .map(({ file, specifier }) => ({ file, target: posix.join(posix.dirname(file), specifier) }))
    .filter(({ file, target }) => {
      const from = file.split("/")[1]!;
      const to = target.split("/")[1]!;
      return from !== to && !(MAY_IMPORT[from] ?? []).includes(to);
    })
    .map(({ file, target }) => `${file} imports ${target}`);
  assert.deepEqual(wrong, [], "move the code, or pass the thing in as an argument");
});

test("a package is imported only through its door", () => {
  const wrong = imports
    .filter(({ file, specifier }) => DOORS[specifier] !== undefined && !DOORS[specifier].test(file))
    .map(({ file, specifier }) => `${file} imports ${specifier}`);
  assert.deepEqual(wrong, [], "use the file that is the package's door");
});

test("files are written durably or not at all", () => {
  const writers = SOURCES.filter((file) =>
    /\b(writeFile|writeFileSync)\(/.test(readFileSync(join(ROOT, file), "utf8")),
  );
  const allowed = new Set(["src/base/durable-file.ts"]);
  assert.deepEqual(
    writers.filter((file) => !allowed.has(file)),
    [],
    "use base/durable-file.ts",
  );
});

test("a folder tells what it is for", () => {
  const missing = Object.keys(MAY_IMPORT).filter(
    (folder) => !existsSync(join(ROOT, "src", folder, "README.md")),
  );
  assert.deepEqual(
    missing,
    [],
    "write src/<folder>/README.md: purpose, first file to open, what it may import",
  );
});

test("every source file begins with a comment that says what it holds", () => {
  const silent = SOURCES.filter(
    (file) => !/^(#!.*\n)?(\/\/|\/\*)/.test(readFileSync(join(ROOT, file), "utf8")),
  );
  assert.deepEqual(silent, []);
});

test("names of files and folders are kebab-case", () => {
  const odd = SOURCES.filter((file) => !/^src\/([a-z0-9-]+\/)+[a-z0-9-]+(\.d)?\.ts$/.test(file));
  assert.deepEqual(odd, []);
});

test("no document names a file that does not exist", () => {
  const documents = [
    "README.md",
    ...globSync("docs/*.md", { cwd: ROOT }),
    ...globSync("src/*/README.md", { cwd: ROOT }),
  ];
  const dead = documents.flatMap((document) =>
    [
      ...readFileSync(join(ROOT, document), "utf8").matchAll(
        /`((?:src|test|scripts|docs|image)\/[A-Za-z0-9_./-]+\.[a-z]+)`/g,
      ),
    ]
      .map((match) => match[1]!)
      .filter((path) => !existsSync(join(ROOT, path)))
      .map((path) => `${document}: ${path}`),
  );
  assert.deepEqual(dead, []);
});

test("nothing is left for later", () => {
  const words = /\b(?:TO[D]O|FIX[M]E|X[X]X)\b/;
  const files = [...SOURCES, ...globSync("{test,scripts,bin,image}/**/*.{ts,js,sh}", { cwd: ROOT })];
  assert.deepEqual(
    files.filter((file) => words.test(readFileSync(join(ROOT, file), "utf8"))),
    [],
  );
});
