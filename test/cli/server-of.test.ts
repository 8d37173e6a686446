// Which server a command talks to, out of libpq's variables and what is found on the machine.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serverOf } from "../../src/cli/walg/server.ts";
import { Settings } from "../../src/cli/walg/command.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "server-of-"));
});
after(() => rm(folder, { recursive: true }));

const none = (_path: string): boolean => false;
const of = (env: Record<string, string>, hasSocket = none): ReturnType<typeof serverOf> =>
  serverOf(new Settings(env), hasSocket);

test("without PGHOST a socket of this machine is used, Holdfast's own first; else localhost", async () => {
  const seen: string[] = [];
  const onlyIn = (wanted: string) => (path: string) => {
    seen.push(path);
    return path === wanted;
  };
  const at = async (wanted: string): Promise<string> => {
    const { host, port } = await of({}, onlyIn(wanted));
    return `${host}:${port}`;
  };
  assert.equal(await at("/run/postgresql/.s.PGSQL.5433"), "/run/postgresql:5433");
  assert.equal(await at("/tmp/.s.PGSQL.5432"), "/tmp:5432");
  assert.equal(await at("nowhere"), "localhost:5432");
  const { host, port } = await of({ PGPORT: "6000" }, onlyIn("/tmp/.s.PGSQL.6000"));
  assert.equal(`${host}:${port}`, "/tmp:6000");
});

test("the password comes from PGPASSWORD, a private PGPASSFILE, or the image's own; never for a socket", async () => {
  const file = join(folder, "pgpass");
  await writeFile(file, "# mine\ndb\\:1:5432:*:postgres:wrong\ndb1:5432:*:postgres:a\\:b\\\\c\n", {
    mode: 0o600,
  });
  const password = async (env: Record<string, string>): Promise<string | undefined> =>
    (await of({ PGHOST: "db1", ...env })).password?.reveal();
  assert.equal(await password({ PGPASSFILE: file, PGPASSWORD: "first" }), "first");
  assert.equal(await password({ PGPASSFILE: file }), "a:b\\c");
  assert.equal(await password({ PGPASSFILE: file, PGUSER: "other", SU_PASSWORD: "own" }), "own");
  const open = join(folder, "open");
  await writeFile(open, "*:*:*:*:everybody's\n", { mode: 0o644 });
  assert.equal(await password({ PGPASSFILE: open }), undefined, "a file that others may read");
  assert.equal(await password({ PGHOST: "/tmp", PGPASSFILE: file, SU_PASSWORD: "own" }), undefined);
});

test("PGSSLMODE, PGSSLROOTCERT, PGSSLCERT and PGSSLKEY", async () => {
  const pem = async (name: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, `-----BEGIN ${name}-----\n`);
    return path;
  };
  const [root, cert, key] = [await pem("root"), await pem("cert"), await pem("key")];
  const tls = async (env: Record<string, string>) => (await of({ PGHOST: "db1", ...env })).tls;
  assert.deepEqual(await tls({ PGSSLMODE: "disable" }), { kind: "off" });
  assert.deepEqual(await tls({}), { kind: "require" });
  assert.deepEqual(await tls({ PGHOST: "127.0.0.1" }), { kind: "off" });
  const verified = await tls({
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: root,
    PGSSLCERT: cert,
    PGSSLKEY: key,
  });
  assert.ok(verified?.kind === "verify");
  assert.match(verified.ca, /BEGIN root/);
  assert.match(verified.client?.certificate ?? "", /BEGIN cert/);
  assert.match(verified.client?.key.reveal() ?? "", /BEGIN key/);
  assert.doesNotMatch(JSON.stringify(verified), /BEGIN key/, "the key is not printed");
  await assert.rejects(tls({ PGSSLMODE: "verify-ca" }), /PGSSLROOTCERT is not set/);
  await assert.rejects(tls({ PGSSLCERT: cert }), /PGSSLKEY is not/);
  await assert.rejects(tls({ PGSSLMODE: "maybe" }), /PGSSLMODE is "maybe"/);
  await assert.rejects(
    tls({ PGSSLCERT: join(folder, "absent"), PGSSLKEY: key }),
    /could not read PGSSLCERT .*absent/,
  );
});
