// An S3 server of our own for *.s3.test.ts: Ceph's gateway in memory, on free ports, gone with the test file.
// scripts/rgw-install.sh brings it; scripts/rgw.sh starts and stops it.

import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join, resolve } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { S3_DEFAULTS, type S3Settings } from "../../src/storage/s3-settings.ts";
import { type S3Store, openS3Store } from "../../src/storage/s3-store.ts";

const SCRIPT = resolve(import.meta.dirname, "..", "..", "scripts", "rgw.sh");
const RGW_ROOT = process.env["RGW_ROOT"] ?? "/opt/rgw-root";
const ACCESS_KEY = "testaccesskey";
const SECRET_KEY = "testsecretkey1234";
const START_TRIES = 3;

export class S3Server implements AsyncDisposable {
  readonly endpoint: string;
  readonly accessKey = ACCESS_KEY;
  readonly secretKey = SECRET_KEY;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #onExit: () => void;
  #disposed = false;

  private constructor(port: number, environment: NodeJS.ProcessEnv) {
    this.endpoint = `http://127.0.0.1:${port}`;
    this.#environment = environment;
    this.#onExit = () => void execFileSync("bash", [SCRIPT, "reset"], { env: environment, stdio: "ignore" });
    process.once("exit", this.#onExit);
  }

  /** Starts it; throws when it is not installed. */
  static async start(store: "memstore" | "bluestore" = "memstore"): Promise<S3Server> {
    if (!existsSync(join(RGW_ROOT, ".complete"))) {
      throw new Error(`the S3 server is not in ${RGW_ROOT}: run scripts/rgw-install.sh`);
    }
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      const environment = {
        PATH: process.env["PATH"] ?? "/usr/bin:/bin:/usr/sbin:/sbin",
        RGW_ROOT,
        RGW_NAME: `test-${process.pid}-${randomBytes(3).toString("hex")}`,
        RGW_PORT: String(port),
        RGW_STORE: store,
        S3_ACCESS_KEY: ACCESS_KEY,
        S3_SECRET_KEY: SECRET_KEY,
      };
      const server = new S3Server(port, environment);
      try {
        await server.#script("start");
        return server;
      } catch (error) {
        await server[Symbol.asyncDispose]();
        if (attempt >= START_TRIES) throw error;
      }
    }
  }

  /** Makes a bucket with a new name, and returns it. */
  async makeBucket(): Promise<string> {
    const bucket = `test-${randomBytes(6).toString("hex")}`;
    const client = this.client();
    try {
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      return bucket;
    } finally {
      client.destroy();
    }
  }

  /** Settings of a store in `bucket`. */
  settings(bucket: string, more: Partial<S3Settings> = {}): S3Settings {
    return {
      ...S3_DEFAULTS,
      bucket,
      endpoint: this.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: {
        accessKeyId: new Secret(ACCESS_KEY),
        secretAccessKey: new Secret(SECRET_KEY),
        sessionToken: null,
      },
      ...more,
    };
  }

  /** A store in a new bucket. */
  async makeStore(more: Partial<S3Settings> = {}): Promise<S3Store> {
    return openS3Store(this.settings(await this.makeBucket(), more), { clock: systemClock, log: silentLog });
  }

  /** The SDK's client, for what the store does not do. */
  client(): S3Client {
    return new S3Client({
      endpoint: this.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    });
  }

  /** SIGKILL to all of its processes. With `bluestore` the data stays, and `restart` brings it back. */
  async kill(): Promise<void> {
    await this.#script("kill");
  }

  async restart(): Promise<void> {
    await this.#script("start");
  }

  /** Process ids of gateway, osd and mon. */
  async pids(): Promise<readonly number[]> {
    return (await this.#script("pids")).trim().split(" ").map(Number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    process.off("exit", this.#onExit);
    await this.#script("reset");
  }

  async #script(verb: "start" | "kill" | "reset" | "pids"): Promise<string> {
    const { stdout } = await promisify(execFile)("bash", [SCRIPT, verb], {
      env: this.#environment,
      timeout: 120_000,
    });
    return stdout;
  }
}

/** One server for a test file: started by the first call, gone after its last test. */
export function sharedS3Server(): () => Promise<S3Server> {
  let server: Promise<S3Server> | null = null;
  after(async () => {
    if (server !== null) await (await server)[Symbol.asyncDispose]();
  });
  return () => (server ??= S3Server.start());
}

/** A port whose neighbours (the script uses up to 29 above it) are probably free too: below the ephemeral range. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 50; tries += 1) {
    const port = 10_000 + 40 * Math.floor(Math.random() * 550);
    if ((await isFree(port)) && (await isFree(port + 1)) && (await isFree(port + 10))) return port;
  }
  throw new Error("no free ports for the S3 server");
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const probe = createServer();
    probe.once("error", () => done(false));
    probe.listen(port, "127.0.0.1", () => {
      const { port: bound } = probe.address() as AddressInfo;
      probe.close(() => done(bound === port));
    });
  });
}
