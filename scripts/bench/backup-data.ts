// The database that backups are measured on: half pgbench, half mixed text and jsonb, on a server of its own.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { appendFileSync, chownSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

export interface BenchServer {
  readonly data: string;
  readonly socket: string;
  readonly port: number;
  readonly identity: Identity;
  /** Output without its last line feed. Throws when the statement fails. */
  readonly psql: (sql: string) => string;
  /** Stops the server; its data stays. */
  stop(): Promise<void>;
}

/** Makes the server below `root`. `megabytes` is about what its data takes. */
export async function startBenchServer(
  root: string,
  bin: string,
  port: number,
  megabytes: number,
): Promise<BenchServer> {
  const identity = postgresIdentity();
  const data = join(root, "data");
  mkdirSync(root, { recursive: true });
  chownSync(root, identity.uid, identity.gid);
  const env = { PATH: process.env["PATH"] ?? "", LANG: "C.UTF-8", TZ: "UTC" };
  const run = (program: string, args: readonly string[]): string =>
    execFileSync(join(bin, program), args, {
      ...identity,
      env,
      cwd: root,
      encoding: "utf8",
      maxBuffer: 1 << 26,
    });
  if (existsSync(data)) throw new Error(`"${data}" exists; give another folder`);
  const format = ["--auth=trust", "--data-checksums", "--locale=C.UTF-8", "--encoding=UTF8"];
  run("initdb", [`--pgdata=${data}`, "--username=postgres", ...format]);
  appendFileSync(join(data, "postgresql.conf"), CONFIGURATION.join("\n"));
  const child = spawn(join(bin, "postgres"), ["-D", data, "-k", root, "-p", String(port)], {
    ...identity,
    env,
    cwd: root,
    stdio: "ignore",
  });
  const where = ["-h", root, "-p", String(port), "-U", "postgres"];
  const psql = (sql: string): string =>
    run("psql", ["-XqAt", ...where, "-v", "ON_ERROR_STOP=1", "-c", sql]).trim();
  await ready(psql, child);
  const half = Math.round(megabytes / 2);
  run("pgbench", ["-q", "-i", "-s", String(Math.max(1, Math.round(half / 15))), ...where, "postgres"]);
  psql(mixedTable(half));
  psql("vacuum analyze");
  psql("checkpoint");
  return {
    ...{ data, socket: root, port, identity, psql },
    stop: async () => {
      child.kill("SIGINT");
      await new Promise((resolve) => child.once("exit", resolve));
    },
  };
}

/** Changes one percent of the rows of both halves, neighbours of each other, at a place of its own for each round; then a checkpoint. */
export function changeOnePercent({ psql }: BenchServer, round: number): void {
  for (const [table, key, set] of [
    ["pgbench_accounts", "aid", "abalance = abalance + 1"],
    ["mixed", "id", "amount = amount + 1"],
  ]) {
    const most = Number(psql(`select max(${key}) from ${table}`));
    const first = Math.floor((most / 50) * (round % 40));
    psql(`update ${table} set ${set} where ${key} between ${first} and ${first + Math.floor(most / 100)}`);
  }
  psql("checkpoint");
}

async function ready(psql: (sql: string) => string, child: ChildProcess): Promise<void> {
  for (let look = 0; ; look += 1) {
    try {
      psql("select 1");
      return;
    } catch (error) {
      if (child.exitCode !== null || look > 300) throw error;
      await delay(100);
    }
  }
}

/** Rows of about 1 kB: documents of repeated keys and random values, words, uuids, numbers, a fifth of noise; two indexes. */
const mixedTable = (megabytes: number): string => `
  create table mixed (id bigint primary key, key uuid, amount numeric, note text, noise bytea, document jsonb);
  insert into mixed select g, md5(g::text)::uuid, (random() * 100000)::numeric(12, 4),
    (select string_agg((array['order','customer','shipment','paid','open','late','north','south','invoice','return'])[1 + (random() * 9)::int], ' ')
       from generate_series(1, 12 + g % 20)),
    (select decode(string_agg(md5(random()::text), ''), 'hex') from generate_series(1, 12) where g > 0),
    jsonb_build_object('id', g, 'name', md5(random()::text), 'tags', jsonb_build_array(md5((g % 100)::text), 'blue', 'new'),
      'address', jsonb_build_object('street', md5((g % 1000)::text), 'zip', (random() * 99999)::int, 'city', 'Springfield'),
      'history', (select jsonb_agg(jsonb_build_object('at', now() - h * interval '1 hour', 'by', md5((random() * 500)::int::text), 'n', h))
        from generate_series(1, 4) h))
    from generate_series(1, ${Math.round(megabytes * 800)}) g;
  create index on mixed (key)`;

function postgresIdentity(): Identity {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((text) => text.startsWith("postgres:"));
  if (line === undefined) throw new Error("there is no user postgres");
  const [, , uid, gid] = line.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

const CONFIGURATION = [
  "",
  "listen_addresses = ''",
  "shared_buffers = '256MB'",
  "max_wal_size = '8GB'",
  "checkpoint_timeout = '1h'",
  "autovacuum = off",
  "archive_mode = on",
  "archive_command = '/bin/true'",
  "maintenance_work_mem = '256MB'",
  "synchronous_commit = off",
  "",
];
