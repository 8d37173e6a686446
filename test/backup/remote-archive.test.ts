// Tars as Postgres sends them in a base backup become members of a backup's parts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RemoteArchive, rootLike } from "../../src/backup/remote-archive.ts";
import { encodeTarHeader, paddingOf, tarTrailer } from "../../src/backup/tar-header.ts";

interface Sent {
  readonly name: string;
  readonly data?: string;
  readonly kind?: "file" | "directory";
}

function tarOf(members: readonly Sent[]): Buffer {
  const owner = { uid: 101, gid: 102, userName: "postgres", groupName: "postgres" };
  const pieces = members.flatMap(({ name, data = "", kind = "file" }) => [
    encodeTarHeader({ name, kind, mode: 0o600, ...owner, bytes: data.length, mtimeSeconds: 1_700_000_000 }),
    Buffer.from(data),
    new Uint8Array(paddingOf(data.length)),
  ]);
  return Buffer.concat([...pieces, tarTrailer()]);
}

/** What comes out, with the data of each member joined, when the tar comes in pieces of `step` bytes. */
function take(archive: RemoteArchive, tar: Buffer, step: number): string[] {
  const seen: string[] = [];
  for (let at = 0; at < tar.length; at += step) {
    for (const one of archive.push(tar.subarray(at, at + step))) {
      if (one.kind === "member") seen.push(`${one.member.kind} ${one.member.name} `);
      else seen.push(`${seen.pop()}${Buffer.from(one.bytes).toString()}`);
    }
  }
  archive.end();
  return seen;
}

const BASE: readonly Sent[] = [
  { name: "backup_label", data: "START WAL LOCATION: 0/2000028\n" },
  { name: "tablespace_map", data: "" },
  { name: "pg_wal", kind: "directory" },
  { name: "./pg_wal/archive_status", kind: "directory" },
  { name: "base/5", kind: "directory" },
  { name: "base/5/112", data: "x".repeat(1000) },
  { name: "base/5/pg_internal.init", data: "cache" },
  { name: "log/postgresql.log", data: "words" },
  { name: "standby.signal", data: "" },
  { name: "postgresql.auto.conf", data: "a = 1\n" },
  { name: "global/pg_control", data: "c".repeat(8192) },
];

test("members get a backup's names, and what a local backup leaves out is left out", () => {
  for (const step of [1, 7, 512, 4096, 1 << 20]) {
    const archive = new RemoteArchive(null);
    assert.deepEqual(take(archive, tarOf(BASE), step), [
      "directory /pg_wal ",
      "directory /base/5 ",
      `file /base/5/112 ${"x".repeat(1000)}`,
      "file /postgresql.auto.conf a = 1\n",
    ]);
    const held = [...archive.held].map(([name, { bytes }]) => [name, bytes.byteLength]);
    assert.deepEqual(held, [
      ["/backup_label", 30],
      ["/tablespace_map", 0],
      ["/global/pg_control", 8192],
    ]);
  }
});

test("a tablespace's members stand below its link", () => {
  const tar = tarOf([
    { name: "PG_17_202406281", kind: "directory" },
    { name: "PG_17_202406281/5/16390", data: "rows" },
    { name: "backup_label", data: "not the label here" },
  ]);
  const archive = new RemoteArchive("16385");
  assert.deepEqual(take(archive, tar, 100), [
    "directory /pg_tblspc/16385/PG_17_202406281 ",
    "file /pg_tblspc/16385/PG_17_202406281/5/16390 rows",
    "file /pg_tblspc/16385/backup_label not the label here",
  ]);
  assert.equal(archive.held.size, 0);
});

test("the root's header is made like another one", () => {
  const archive = new RemoteArchive(null);
  const [step] = archive.push(tarOf([{ name: "base/5/112", data: "x" }]));
  assert.ok(step?.kind === "member");
  const { name, kind, mode, bytes, uid, gid } = rootLike(step.member);
  assert.deepEqual(
    { name, kind, mode, bytes, uid, gid },
    { name: "/", kind: "directory", mode: 0o700, bytes: 0, uid: 101, gid: 102 },
  );
});

test("names that lead out, tars that break off and what is no tar are refused", () => {
  const step = { code: "BASE_BACKUP_FORMAT" };
  assert.throws(() => new RemoteArchive(null).push(tarOf([{ name: "../escape", data: "x" }])), /leads out/);
  assert.throws(() => new RemoteArchive(null).push(Buffer.alloc(1024, "no tar")), step);
  const cut = new RemoteArchive(null);
  cut.push(tarOf(BASE).subarray(0, 5000));
  assert.throws(() => cut.end(), step);
  const huge = tarOf([{ name: "backup_label", data: "" }]);
  huge.write("00700000000", 124, "latin1"); // 112 MiB
  huge.write("        ", 148, "latin1");
  const sum = huge.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  huge.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  assert.throws(() => new RemoteArchive(null).push(huge), step);
});
