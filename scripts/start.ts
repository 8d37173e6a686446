// One node on this machine without Docker: settings, the supervisor as a child, and the demonstration of what it survives.

import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, openSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";

const REPOSITORY = resolve(import.meta.dirname, "..");
const MAIN = join(REPOSITORY, "bin", "holdfast.js");
/** Only of the demonstration: a node that restores takes as long as it takes. */
const DEMO_LIMIT_MS = 180_000;
const isRoot = process.getuid?.() === 0;

interface Place {
  readonly root: string;
  readonly password: string;
  readonly ports: Readonly<Record<"proxy" | "readOnly" | "postgres" | "checks" | "metrics", number>>;
}

const demo = process.argv.includes("--demo");
process.exit(demo ? await runDemo() : await runNode());

/** The main job: runs until Ctrl-C. */
async function runNode(): Promise<number> {
  const root =
    process.env["HOLDFAST_STATE"] ??
    (isRoot ? "/var/lib/holdfast-start" : join(homedir(), ".local/share/holdfast-start"));
  const place = await prepare(root);
  const node = supervise(place, "terminal");
  const stop = (): void => void node.kill("SIGTERM");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
  const ended = exitOf(node);
  const ready = await Promise.race([isReady(place, Infinity).then(() => true), ended.then(() => false)]);
  if (ready) console.log(introduction(place));
  return ended;
}

function introduction({ root, password, ports }: Place): string {
  return `
Holdfast runs.

  connect     PGPASSWORD=${password} psql -h 127.0.0.1 -p ${ports.proxy} -U postgres
  status      curl http://127.0.0.1:${ports.checks}/flycheck/role ; curl http://127.0.0.1:${ports.metrics}/metrics
  data        ${root}/data    (may be lost: delete it, start again, and it comes back)
  store       ${root}/store   (must be kept: base backups, WAL, and the tail that is at most a second behind)
  stop        Ctrl-C

`;
}

/** Load, SIGKILL, the data directory gone, start again: prints the rows before, after and lost. */
async function runDemo(): Promise<number> {
  const root = await mkdtemp(join(tmpdir(), "holdfast-demo-"));
  await chmod(root, 0o755);
  const place = await prepare(root);
  let node = supervise(place, "file");
  try {
    await isReady(place);
    console.log("1. a new cluster is up; pgbench fills it and writes");
    const load = await startLoad(place);
    const acked = await writeFor(place, 8000);
    console.log(
      `2. ${acked.length} commits were acknowledged to a client of our own beside pgbench; now SIGKILL for all of it`,
    );
    await killTree(node);
    load.kill("SIGKILL");
    const killedMs = performance.now();
    await rm(join(root, "data"), { recursive: true, force: true });
    console.log("3. the data directory is destroyed; the same settings again");
    await mkdir(join(root, "data"));
    await own(join(root, "data"));
    node = supervise(place, "file");
    await isReady(place);
    const seconds = ((performance.now() - killedMs) / 1000).toFixed(1);
    const there = await idsThere(place);
    const lost = acked.filter((row) => !there.has(row.id));
    const lastMs = acked.at(-1)?.ackMs ?? 0;
    const oldest = lost.length === 0 ? 0 : lastMs - lost[0]!.ackMs;
    console.log(`4. it is back after ${seconds} s, no command typed`);
    console.log(
      `   rows acknowledged before: ${acked.length}   there after: ${acked.length - lost.length}   lost: ${lost.length}`,
    );
    if (lost.length > 0)
      console.log(`   the oldest lost commit was acknowledged ${Math.round(oldest)} ms before the last one`);
    node.kill("SIGTERM");
    await exitOf(node);
    return oldest <= 2000 ? 0 : 1;
  } catch (error) {
    console.error(
      `${String(error)}; the node's log ends:\n${(await readFile(join(root, "node.log"), "utf8")).slice(-4000)}`,
    );
    return 1;
  } finally {
    await killTree(node);
    await rm(root, { recursive: true, force: true });
  }
}

/** Folders, password, free ports and the hook script, kept in `root`. */
async function prepare(root: string): Promise<Place> {
  for (const folder of ["", "store", "data", "run", "bin"])
    await mkdir(join(root, folder), { recursive: true, mode: 0o755 });
  for (const folder of ["data", "run"]) await own(join(root, folder));
  const hook = join(root, "bin", "holdfast-hook"); // Postgres's user may not be able to read the checkout
  await copyFile(join(REPOSITORY, "image/usr/local/bin/holdfast-hook"), hook);
  await chmod(hook, 0o755);
  const secret = join(root, "password");
  if (!existsSync(secret)) await writeFile(secret, randomBytes(12).toString("base64url"), { mode: 0o600 });
  const taken: number[] = [];
  const free = async (wanted: number): Promise<number> => {
    let port = wanted;
    while (taken.includes(port) || !(await isFree(port))) port += 10;
    taken.push(port);
    return port;
  };
  const ports = {
    proxy: await free(5432),
    readOnly: await free(5434),
    postgres: await free(5433),
    checks: await free(5500),
    metrics: await free(9187),
  };
  return { root, password: await readFile(secret, "utf8"), ports };
}

/** A folder that Postgres's user works in must let it in; the supervisor sets the rest right. */
async function own(path: string): Promise<void> {
  await chmod(path, 0o755);
}

/** The supervisor; what it says goes to the terminal or into `node.log`. */
function supervise({ root, password, ports }: Place, output: "terminal" | "file"): ChildProcess {
  const out = output === "terminal" ? "inherit" : openSync(join(root, "node.log"), "a");
  return spawn(process.execPath, [MAIN, "supervise"], {
    stdio: ["ignore", out, out],
    // Ctrl-C goes to everybody at the terminal; the supervisor is told once, by us, because twice means "hurry".
    detached: true,
    env: {
      PATH: `${join(root, "bin")}:${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
      HOME: process.env["HOME"] ?? "/root",
      LANG: "C.UTF-8",
      POSTGRES_PASSWORD: password,
      WALG_FILE_PREFIX: join(root, "store"),
      DATA_VOLUME: join(root, "data"),
      RUN_DIRECTORY: join(root, "run"),
      HOLDFAST_HOOK: join(root, "bin", "holdfast-hook"),
      LISTEN_ADDRESS: "127.0.0.1",
      NODE_NAME: "n1",
      PORT: String(ports.proxy),
      READ_PORT: String(ports.readOnly),
      POSTGRES_PORT: String(ports.postgres),
      CHECK_PORT: String(ports.checks),
      METRICS_PORT: String(ports.metrics),
    },
  });
}

async function isReady(place: Place, limitMs = DEMO_LIMIT_MS): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const client = connectionTo(place);
    const served = await client.connect().then(
      () => true,
      () => false,
    );
    await client.end().catch(() => undefined);
    if (served) return;
    if (performance.now() > deadline) throw new Error(`not ready after ${limitMs} ms; its log says why`);
    await sleep(200);
  }
}

async function startLoad({ password, ports }: Place): Promise<ChildProcess> {
  const args = ["-h", "127.0.0.1", "-p", String(ports.proxy), "-U", "postgres"];
  const env = { PATH: process.env["PATH"] ?? "", PGPASSWORD: password };
  const program = await pgbench();
  const filled = await exitOf(
    spawn(program, [...args, "-i", "-q", "-s", "5", "postgres"], { stdio: "ignore", env }),
  );
  if (filled !== 0) throw new Error(`pgbench -i ended with status ${filled}`);
  return spawn(program, [...args, "-c", "2", "-T", "120", "postgres"], { stdio: "ignore", env });
}

/** The newest pgbench; not every Debian has it on the PATH. */
async function pgbench(): Promise<string> {
  const majors = (await readdir("/usr/lib/postgresql")).map(Number).sort((a, b) => b - a);
  return `/usr/lib/postgresql/${majors[0]}/bin/pgbench`;
}

async function writeFor(place: Place, ms: number): Promise<{ id: number; ackMs: number }[]> {
  const client = connectionTo(place);
  client.on("error", () => undefined);
  await client.connect();
  await client.query("create table ledger (id int primary key)");
  const acked: { id: number; ackMs: number }[] = [];
  const end = performance.now() + ms;
  for (let id = 1; performance.now() < end; id += 1) {
    await client.query("insert into ledger values ($1)", [id]);
    acked.push({ id, ackMs: performance.now() });
  }
  client.end().catch(() => undefined);
  return acked;
}

async function idsThere(place: Place): Promise<ReadonlySet<number>> {
  const client = connectionTo(place);
  await client.connect();
  const rows = await client.query<{ id: number }>("select id from ledger");
  await client.end();
  return new Set(rows.rows.map((row) => row.id));
}

function connectionTo({ password, ports }: Place): Client {
  return new Client({
    host: "127.0.0.1",
    port: ports.proxy,
    user: "postgres",
    password,
    database: "postgres",
    connectionTimeoutMillis: 2000,
  });
}

/** SIGKILL for a process and all its descendants, as the loss of the machine would. */
async function killTree(node: ChildProcess): Promise<void> {
  if (node.pid === undefined || node.exitCode !== null || node.signalCode !== null) return;
  const all = await descendants(node.pid);
  for (const pid of [node.pid, ...all]) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
  }
  await sleep(500);
}

async function descendants(root: number): Promise<number[]> {
  const parents = new Map<number, number[]>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    if (stat !== "") parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
  }
  const walk = (pid: number): number[] =>
    (parents.get(pid) ?? []).flatMap((child) => [child, ...walk(child)]);
  return walk(root);
}

async function exitOf(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null) return child.exitCode;
  return new Promise((done) => child.once("close", (code) => done(code ?? 128)));
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}
