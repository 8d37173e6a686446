// Containers of the real image for *.image.test.ts: a network, the S3 server, nodes with volumes, and what can be done to them.

import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

export const REPOSITORY = resolve(import.meta.dirname, "..", "..");
/** Debian's own client; another one on the PATH may lack BuildKit. */
export const DOCKER = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker";
/** The image under test; `scripts/test` builds it. */
export const IMAGE = process.env["HOLDFAST_IMAGE"] ?? "holdfast:17";
export const BASE_IMAGE = "holdfast-base:trixie";
export const RGW_ROOT = process.env["RGW_ROOT"] ?? "/opt/rgw-root";
export const S3_KEYS = { accessKeyId: "testaccesskey", secretAccessKey: "testsecretkey1234" } as const;
export const PASSWORD = "a-good-password_1";

/** For a machine on which containers get a small share of the processors, e.g. `--cgroup-parent=/`. */
export const RUN_OPTIONS = (process.env["HOLDFAST_RUN_OPTIONS"] ?? "")
  .split(" ")
  .filter((word) => word !== "");

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs docker with these arguments and resolves whatever its exit status. */
export async function docker(...args: readonly string[]): Promise<Ran> {
  return new Promise((done) => {
    execFile(DOCKER, [...args], { maxBuffer: 256 << 20 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : 128;
      done({ status, stdout, stderr });
    });
  });
}

/** As docker(), but throws with stderr unless the exit status is 0. Resolves to trimmed stdout. */
export async function mustDocker(...args: readonly string[]): Promise<string> {
  const ran = await docker(...args);
  if (ran.status !== 0)
    throw new Error(`docker ${args.join(" ")}: status ${ran.status}: ${ran.stderr.trim()}`);
  return ran.stdout.trim();
}

export interface NodeOptions {
  readonly name?: string;
  /** Name of a docker volume for /data; null: no volume, so `rm` loses everything. */
  readonly volume?: string | null;
  readonly env: Readonly<Record<string, string>>;
  readonly image?: string;
  /** More `docker run` options. */
  readonly options?: readonly string[];
  /** Command and arguments for the image's entry point. */
  readonly command?: readonly string[];
}

/** A private network, its containers and volumes; all of it is gone after `close`. */
export class Bench implements AsyncDisposable {
  readonly id = `hf-${randomBytes(4).toString("hex")}`;
  readonly #containers = new Set<string>();
  readonly #volumes = new Set<string>();
  readonly #folders: string[] = [];
  readonly #mounts: string[] = [];
  readonly #children = new Set<ChildProcess>();
  #s3: S3Server | null = null;

  /** A network of our own; with `s3` also the S3 server and a bucket on it. */
  static async open({ s3 = true }: { s3?: boolean } = {}): Promise<Bench> {
    const bench = new Bench();
    await mustDocker("network", "create", bench.id);
    if (s3) bench.#s3 = await bench.#startS3();
    return bench;
  }

  get s3(): S3Server {
    if (this.#s3 === null) throw new Error("this bench was opened without the S3 server");
    return this.#s3;
  }

  /** The S3 server, or where there is none the folder that all nodes mount as `/store`. */
  storeEnv(prefix: string): Record<string, string> {
    if (this.#s3 !== null) return this.s3Env(prefix);
    return {
      WALG_FILE_PREFIX: "/store",
      POSTGRES_PASSWORD: PASSWORD,
      OPERATOR_PASSWORD: PASSWORD,
      REPL_PASSWORD: PASSWORD,
    };
  }

  /** Settings of a node whose store is the bench's S3 server. */
  s3Env(prefix = "db"): Record<string, string> {
    return {
      WALG_S3_PREFIX: `s3://${this.s3.bucket}/${prefix}`,
      AWS_ENDPOINT: "http://s3:9000",
      AWS_ACCESS_KEY_ID: S3_KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey,
      AWS_REGION: "us-east-1",
      AWS_S3_FORCE_PATH_STYLE: "true",
      POSTGRES_PASSWORD: PASSWORD,
      OPERATOR_PASSWORD: PASSWORD,
      REPL_PASSWORD: PASSWORD,
    };
  }

  /** Starts a node with `docker run -d --env-file`. */
  async run(options: NodeOptions): Promise<ImageNode> {
    const name = options.name ?? "n1";
    const container = `${this.id}-${name}-${randomBytes(2).toString("hex")}`;
    const file = await this.#envFile(options.env);
    const mount = await this.#mount(options.volume);
    this.#containers.add(container);
    await mustDocker(
      ...[
        "run",
        "-d",
        "--name",
        container,
        "--hostname",
        name,
        "--network",
        this.id,
        "--network-alias",
        name,
      ],
      ...["--env-file", file, "--shm-size", "256m", ...mount, ...RUN_OPTIONS, ...(options.options ?? [])],
      ...[options.image ?? IMAGE, ...(options.command ?? [])],
    );
    return new ImageNode(this, container);
  }

  /** Runs a container to its end: `docker run --rm`. */
  async runOnce(options: NodeOptions): Promise<Ran> {
    const file = await this.#envFile(options.env);
    const mount = await this.#mount(options.volume);
    const name = `${this.id}-once-${randomBytes(2).toString("hex")}`;
    this.#containers.add(name);
    const network = ["--network", this.id, "--env-file", file];
    return docker(
      ...["run", "--rm", "--name", name, ...network, ...mount, ...(options.options ?? [])],
      ...[options.image ?? IMAGE, ...(options.command ?? [])],
    );
  }

  /** A fresh volume; deleted with the bench or by `deleteVolume`. */
  async volume(): Promise<string> {
    const name = `${this.id}-v-${randomBytes(3).toString("hex")}`;
    this.#volumes.add(name);
    return mustDocker("volume", "create", name);
  }

  async deleteVolume(name: string): Promise<void> {
    await mustDocker("volume", "rm", "-f", name);
    this.#volumes.delete(name);
  }

  /** A volume of this many bytes, in memory; it survives its containers, not the bench. */
  async smallVolume(bytes: number): Promise<string> {
    const path = await this.folder();
    await run("mount", ["-t", "tmpfs", "-o", `size=${bytes},mode=755`, "holdfast-test", path]);
    this.#mounts.push(path);
    return path;
  }

  /** A temporary folder on the host, for mounts. */
  async folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), "holdfast-test-"));
    this.#folders.push(path);
    return path;
  }

  /** A child on the host that must not outlive the bench. */
  child(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, [...args], { stdio: ["pipe", "pipe", "pipe"] });
    this.#children.add(child);
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    if (process.env["HOLDFAST_KEEP"] !== undefined) return;
    if (this.#containers.size > 0) await docker("rm", "-f", "-v", ...this.#containers);
    if (this.#volumes.size > 0) await docker("volume", "rm", "-f", ...this.#volumes);
    await docker("network", "rm", this.id);
    for (const path of this.#mounts) await run("umount", [path]);
    for (const folder of this.#folders) await rm(folder, { recursive: true, force: true });
    if (this.#s3 !== null) await rm(join(RGW_ROOT, "srv", this.id), { recursive: true, force: true });
  }

  async #envFile(env: Readonly<Record<string, string>>): Promise<string> {
    const path = join(await this.folder(), "holdfast.env");
    await writeFile(path, Object.entries(env).map(([key, value]) => `${key}=${value}\n`).join("")); // prettier-ignore
    return path;
  }

  async #mount(volume: string | null | undefined): Promise<readonly string[]> {
    if (volume === null) return [];
    return ["-v", `${volume ?? (await this.volume())}:/data`];
  }

  async #startS3(): Promise<S3Server> {
    const container = `${this.id}-s3`;
    this.#containers.add(container);
    await mustDocker(
      ...["run", "-d", "--name", container, "--network", this.id, "--network-alias", "s3", ...RUN_OPTIONS],
      ...[
        "-v",
        `${RGW_ROOT}:${RGW_ROOT}`,
        "-v",
        `${REPOSITORY}/scripts:/scripts:ro`,
        "-e",
        `RGW_ROOT=${RGW_ROOT}`,
      ],
      ...["-e", `RGW_NAME=${this.id}`, "-e", "RGW_BIND=0.0.0.0", "-e", "RGW_STORE=memstore"],
      ...["-e", `S3_ACCESS_KEY=${S3_KEYS.accessKeyId}`, "-e", `S3_SECRET_KEY=${S3_KEYS.secretAccessKey}`],
      ...[BASE_IMAGE, "bash", "-c"],
      '/scripts/rgw.sh start && trap "/scripts/rgw.sh stop; exit 0" TERM INT; sleep infinity & wait',
    );
    await until(
      async () => (await docker("logs", container)).stdout.includes("S3 ready"),
      60_000,
      "the S3 server",
    );
    const server = new S3Server(container, await addressOf(container, this.id), this.id);
    await server.client().send(new CreateBucketCommand({ Bucket: server.bucket }));
    return server;
  }
}

/** The S3 server's container: reachable as http://s3:9000 from nodes, by its address from the host. */
export class S3Server {
  readonly container: string;
  readonly address: string;
  readonly network: string;
  readonly bucket = "holdfast";

  constructor(container: string, address: string, network: string) {
    this.container = container;
    this.address = address;
    this.network = network;
  }

  client(): S3Client {
    const endpoint = `http://${this.address}:9000`;
    return new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: S3_KEYS });
  }

  /** Takes it off the network: connections hang, its name does not resolve. */
  async cut(): Promise<void> {
    await mustDocker("network", "disconnect", this.network, this.container);
  }

  async heal(): Promise<void> {
    await mustDocker(
      "network",
      "connect",
      "--alias",
      "s3",
      "--ip",
      this.address,
      this.network,
      this.container,
    ).catch(async () => mustDocker("network", "connect", "--alias", "s3", this.network, this.container));
  }
}

/** One container of the image. */
export class ImageNode {
  readonly bench: Bench;
  readonly container: string;

  constructor(bench: Bench, container: string) {
    this.bench = bench;
    this.container = container;
  }

  async exec(...command: readonly string[]): Promise<Ran> {
    return docker("exec", this.container, ...command);
  }

  async shell(script: string): Promise<Ran> {
    return this.exec("bash", "-c", script);
  }

  /** One statement as the superuser through the proxy port; rows joined by newlines, columns by `|`. Throws on an error. */
  async sql(statement: string, database = "postgres"): Promise<string> {
    const ran = await docker(
      ...["exec", "-e", `PGPASSWORD=${PASSWORD}`, "-e", "PGCONNECT_TIMEOUT=5", this.container],
      ...[
        "psql",
        "-h",
        "127.0.0.1",
        "-p",
        "5432",
        "-U",
        "postgres",
        "-d",
        database,
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
      ],
      ...["-c", statement],
    );
    if (ran.status !== 0) throw new Error(`psql: ${ran.stderr.trim()}`);
    return ran.stdout.trim();
  }

  /** Resolves to the milliseconds it took until a client is served; throws with the log's end otherwise. */
  async ready(limitMs = 240_000): Promise<number> {
    const begun = performance.now();
    for (;;) {
      const served = await this.sql("select 1").catch(() => null);
      if (served === "1") return performance.now() - begun;
      const late = performance.now() - begun > limitMs;
      if (late || !(await this.running())) {
        const state = late ? `not ready after ${limitMs} ms` : `ended with status ${await this.exitStatus()}`;
        throw new Error(`${this.container} ${state}; its log ends:\n${(await this.log()).slice(-6000)}`);
      }
      await sleep(200);
    }
  }

  async log(): Promise<string> {
    const ran = await docker("logs", this.container);
    return ran.stdout + ran.stderr;
  }

  /** Waits until the log holds `text`. */
  async said(text: string | RegExp, limitMs = 240_000): Promise<void> {
    const holds = async (): Promise<boolean> => {
      const log = await this.log();
      return typeof text === "string" ? log.includes(text) : text.test(log);
    };
    await until(holds, limitMs, `"${text}" in the log of ${this.container}`).catch(async (error: unknown) => {
      throw new Error(`${String(error)}; it ends:\n${(await this.log()).slice(-6000)}`, { cause: error });
    });
  }

  async running(): Promise<boolean> {
    return (await docker("inspect", "-f", "{{.State.Running}}", this.container)).stdout.trim() === "true";
  }

  async exists(): Promise<boolean> {
    return (await docker("inspect", this.container)).status === 0;
  }

  async exitStatus(): Promise<number> {
    return Number(await mustDocker("inspect", "-f", "{{.State.ExitCode}}", this.container));
  }

  /** Waits for the container's end and resolves to its exit status. */
  async ended(limitMs = 60_000): Promise<number> {
    await until(async () => !(await this.running()), limitMs, `the end of ${this.container}`);
    return this.exitStatus();
  }

  async address(): Promise<string> {
    return addressOf(this.container, this.bench.id);
  }

  /** An HTTP GET from the host to the container. */
  async get(port: number, path: string): Promise<{ status: number; body: string }> {
    const answer = await fetch(`http://${await this.address()}:${port}${path}`, {
      signal: AbortSignal.timeout(5000),
    });
    return { status: answer.status, body: await answer.text() };
  }

  async kill(signal = "KILL"): Promise<void> {
    await mustDocker("kill", "-s", signal, this.container);
  }

  /** `docker stop`; resolves to the exit status. */
  async stop(seconds = 60): Promise<number> {
    await mustDocker("stop", "-t", String(seconds), this.container);
    return this.exitStatus();
  }

  async start(): Promise<void> {
    await mustDocker("start", this.container);
  }

  /** `docker rm -f`: killed at once; a named volume stays. */
  async remove(): Promise<void> {
    await mustDocker("rm", "-f", this.container);
  }

  async pause(): Promise<void> {
    await mustDocker("pause", this.container);
  }

  async resume(): Promise<void> {
    await mustDocker("unpause", this.container);
  }

  async disconnect(): Promise<void> {
    await mustDocker("network", "disconnect", this.bench.id, this.container);
  }

  async connect(alias: string): Promise<void> {
    await mustDocker("network", "connect", "--alias", alias, this.bench.id, this.container);
  }
}

/** Polls until `check` is true; throws naming `what` when `limitMs` is over. */
export async function until(check: () => Promise<boolean>, limitMs: number, what: string): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await sleep(200);
  }
}

async function addressOf(container: string, network: string): Promise<string> {
  return mustDocker(
    "inspect",
    "-f",
    `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`,
    container,
  );
}

/** Seeds of a seeded trial: a sample, or all with `./scripts/test --long` or HOLDFAST_SEEDS=n. */
export function seeds(sample: number, all: number): readonly number[] {
  const asked = process.env["HOLDFAST_SEEDS"];
  const count =
    asked !== undefined ? Number(asked) : process.env["HOLDFAST_LONG"] !== undefined ? all : sample;
  const first = Number(process.env["HOLDFAST_SEED"] ?? 1);
  return Array.from({ length: count }, (_, index) => first + index);
}
