// Restores a bucket that WAL-G wrote to one of its recorded targets with a real Postgres, and reads the rows.

import assert from "node:assert/strict";
import { chown, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseSelector } from "../../src/backup/catalog.ts";
import { fetchBackup } from "../../src/backup/fetch.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { methodOfExtension } from "../../src/codec/compression.ts";
import { cipherOf, readCipherKey } from "../../src/codec/encryption.ts";
import { open } from "../../src/codec/seal.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { type ScratchPostgres, programUser, scratchPostgres } from "./scratch-postgres.ts";
import { fixtureCipher } from "./walg-fixtures.ts";

export interface RecordedTarget {
  readonly id: string;
  readonly what: "latest" | "immediate" | "time" | "lsn" | "xid" | "name";
  readonly value: string | null;
  readonly timeline: string;
  /** Name of a backup, or LATEST. */
  readonly backup: string;
  readonly rows: Readonly<Record<string, RecordedRows>>;
}

export interface RecordedRows {
  readonly count: number;
  readonly md5: string | null;
  readonly unlogged?: boolean;
}

export interface RecordedBucket {
  readonly name: string;
  readonly pg_major: number;
  readonly wal_segment_size: number;
  readonly targets: readonly RecordedTarget[];
}

export async function readRecordedBucket(folder: string): Promise<RecordedBucket> {
  return JSON.parse(await readFile(join(folder, "expected.json"), "utf8")) as RecordedBucket;
}

/** Decodes wal_005 into plain files for a restore_command that copies. An object that cannot be decoded is left out. */
export async function decodeArchive(name: string, storePath: string, into: string): Promise<void> {
  const cipher = await cipherOf(await readCipherKey(fixtureCipher(name)));
  await mkdir(into, { recursive: true });
  for (const object of await readdir(join(storePath, "wal_005"))) {
    const match = /^([0-9A-F]{24}(?:\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history)(?:\.([a-z0-9]*))?$/.exec(
      object,
    );
    const method = match === null ? null : methodOfExtension(match[2] ?? "");
    if (match === null || method === null) continue;
    const stored = await readFile(join(storePath, "wal_005", object));
    const bytes = await open(stored, method, cipher).catch(() => null);
    if (bytes !== null && bytes.byteLength > 0)
      await writeFile(join(into, match[1]!), bytes, { mode: 0o644 });
  }
}

/** Fetches a backup into `directory`, owned by the user that Postgres runs as; tablespaces go below `tablespaces`. */
export async function fetchFixture(
  name: string,
  store: ObjectStore,
  backup: string,
  directory: string,
  tablespaces: string,
): Promise<void> {
  const { uid, gid } = await programUser();
  await fetchBackup(
    {
      backup: parseSelector(backup),
      directory,
      tablespaces: { kind: "below", root: tablespaces },
      mask: null,
      only: [],
      concurrency: 2,
      serverMajor: null,
      owner: uid === undefined || gid === undefined ? null : { uid, gid },
    },
    {
      store,
      cipherKey: await readCipherKey(fixtureCipher(name)),
      clock: systemClock,
      log: silentLog,
      signal: new AbortController().signal,
    },
  );
}

/** Starts Postgres on a fetched directory with the target, waits for the promotion, and returns the running server. */
export async function recoverTo(
  target: Pick<RecordedTarget, "what" | "value" | "timeline">,
  directory: string,
  archive: string,
): Promise<ScratchPostgres> {
  const settings = [
    `restore_command = 'test -f "${archive}/%f" || exit 1; cp "${archive}/%f" "%p"'`,
    "recovery_target_action = 'promote'",
    `recovery_target_timeline = '${target.timeline}'`,
    "archive_mode = off",
    "fsync = off",
    "logging_collector = off",
    "shared_buffers = '16MB'",
    ...targetSettings(target),
  ];
  const signal = join(directory, "recovery.signal");
  await writeFile(signal, "");
  const { uid, gid } = await programUser();
  if (uid !== undefined && gid !== undefined) await chown(signal, uid, gid);
  const server = await scratchPostgres({ dataDirectory: directory, start: false, conf: settings });
  try {
    await server.start({ wait: false, args: ["-c", `hba_file=${await trustingHba(server)}`] });
    await promoted(server);
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

async function trustingHba(server: ScratchPostgres): Promise<string> {
  const path = join(server.root, "hba.conf");
  await writeFile(path, "local all all trust\n", { mode: 0o644 });
  return path;
}

function targetSettings({ what, value }: Pick<RecordedTarget, "what" | "value">): readonly string[] {
  if (what === "latest") return [];
  if (what === "immediate") return ["recovery_target = 'immediate'"];
  return [`recovery_target_${what} = '${value}'`];
}

async function promoted(server: ScratchPostgres): Promise<void> {
  await server.ready();
  for (let look = 0; (await server.psql("select pg_is_in_recovery()")) !== "f"; look += 1) {
    assert.ok(look < 600, `not promoted within a minute: ${server.log.slice(-2000)}`);
    await delay(100);
  }
}

/** Rows of every table and materialized view of every connectable database, as the fixtures' README defines them. */
export async function readRows(server: ScratchPostgres): Promise<Record<string, RecordedRows>> {
  const rows: Record<string, RecordedRows> = {};
  const databases = await server.psql("select datname from pg_database where datallowconn order by 1");
  for (const database of databases.split("\n")) {
    const tables = await server.psql(TABLES, { database });
    for (const line of tables.split("\n").filter((text) => text !== "")) {
      const [schema = "", table = "", persistence = ""] = line.split("|");
      const counted = await server.psql(countOf(schema, table), { database });
      const [count = "", md5 = ""] = counted.split("|");
      const entry = { count: Number(count), md5: md5 === "" ? null : md5 };
      rows[`${database}.${schema}.${table}`] = persistence === "u" ? { ...entry, unlogged: true } : entry;
    }
  }
  return rows;
}

const TABLES = `select n.nspname, c.relname, c.relpersistence from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 1, 2`;

const countOf = (schema: string, table: string): string =>
  `select count(*), md5(string_agg(t::text, ',' order by t::text)) from "${schema}"."${table}" t`;
