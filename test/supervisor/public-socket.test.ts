import assert from "node:assert/strict";
import { lstat, mkdtemp, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { linkSocket, unlinkSocket } from "../../src/supervisor/public-socket.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "hf-socket-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

const isThere = async (path: string): Promise<boolean> =>
  await lstat(path).then(
    () => true,
    () => false,
  );

test("the socket's usual names come and go with the doors", async (t) => {
  const socket = { folder: await folder(t), from: "/run/holdfast/postgres", port: 5433 };
  await linkSocket(socket, silentLog);
  await linkSocket(socket, silentLog);
  for (const port of [5432, 5433]) {
    const path = join(socket.folder, `.s.PGSQL.${port}`);
    assert.equal(await readlink(path), "/run/holdfast/postgres/.s.PGSQL.5433");
  }
  await unlinkSocket(socket);
  await unlinkSocket(socket);
  for (const port of [5432, 5433])
    assert.equal(await isThere(join(socket.folder, `.s.PGSQL.${port}`)), false);
});

test("a link that another start left is replaced, another server's socket is left alone", async (t) => {
  const socket = { folder: await folder(t), from: "/run/holdfast/postgres", port: 5433 };
  await symlink("/gone", join(socket.folder, ".s.PGSQL.5433"));
  await writeFile(join(socket.folder, ".s.PGSQL.5432"), "another server's");
  await linkSocket(socket, silentLog);
  assert.equal(await readlink(join(socket.folder, ".s.PGSQL.5433")), "/run/holdfast/postgres/.s.PGSQL.5433");
  await unlinkSocket(socket);
  assert.equal((await lstat(join(socket.folder, ".s.PGSQL.5432"))).isFile(), true);
});
