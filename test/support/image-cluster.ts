// Clusters of the real image: the same environment file once per node, and a client's book kept at every node's proxy port.

import { Client } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import type { Bench, ImageNode } from "./image.ts";
import { docker, PASSWORD } from "./image.ts";
import type { Entry } from "./ledger.ts";

export interface ClusterNode {
  readonly name: string;
  readonly volume: string;
  node: ImageNode;
}

export interface Row {
  readonly name: string;
  readonly role: string;
  readonly sight: string;
  readonly timeline: number | null;
  readonly inRoster: boolean;
  readonly inSync: boolean | null;
}

export interface Status {
  readonly primary: string | null;
  readonly accepting: boolean;
  readonly because: string;
  readonly members: readonly Row[];
}

export class ImageCluster {
  readonly bench: Bench;
  readonly env: Readonly<Record<string, string>>;
  readonly nodes: readonly ClusterNode[];

  private constructor(bench: Bench, env: Readonly<Record<string, string>>, nodes: readonly ClusterNode[]) {
    this.bench = bench;
    this.env = env;
    this.nodes = nodes;
  }

  /** Starts the nodes one after the other and waits until all of them are there. */
  static async start(
    bench: Bench,
    names: readonly string[],
    more: Readonly<Record<string, string>> = {},
    options: readonly string[] = [],
  ): Promise<ImageCluster> {
    const env = {
      ...bench.s3Env(`cluster-${Math.random().toString(36).slice(2, 8)}`),
      NODES: names.join(","),
      MEMORY_LIMIT: "512MB",
      ...more,
    };
    const nodes: ClusterNode[] = [];
    for (const name of names) {
      const volume = await bench.volume();
      nodes.push({ name, volume, node: await bench.run({ name, volume, env, options }) });
    }
    const cluster = new ImageCluster(bench, env, nodes);
    await cluster.whole(120_000);
    return cluster;
  }

  get(name: string): ImageNode {
    return this.#of(name).node;
  }

  others(name: string): readonly ClusterNode[] {
    return this.nodes.filter((each) => each.name !== name);
  }

  /** `docker rm -f` and a new container on the same volume, or on a fresh one. */
  async replace(name: string, volume: string = this.#of(name).volume): Promise<void> {
    const entry = this.#of(name);
    await entry.node.remove();
    entry.node = await this.bench.run({ name, volume, env: this.env });
  }

  /** What a node says of the cluster; null when it says nothing. */
  async status(name: string): Promise<Status | null> {
    const ran = await this.get(name).exec("holdfast", "cluster", "status", "--json");
    if (ran.status !== 0) return null;
    return JSON.parse(ran.stdout) as Status;
  }

  /** The primary that accepts, as any of the nodes sees it; null when there is none. */
  async primary(): Promise<string | null> {
    for (const { name, node } of this.nodes) {
      if (!(await node.running())) continue;
      const status = await this.status(name).catch(() => null);
      if (status?.accepting === true) return status.primary;
    }
    return null;
  }

  /** Waits for a primary that accepts; with `not`, for another one. */
  async leads(limitMs: number, not: string | null = null): Promise<string> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const name = await this.primary();
      if (name !== null && name !== not) return name;
      if (performance.now() > deadline)
        throw new Error(`no primary after ${limitMs} ms; ${await this.logs()}`);
      await sleep(200);
    }
  }

  /** Waits until one accepts and all the others stream. Resolves to the primary. */
  async whole(
    limitMs: number,
    names: readonly string[] = this.nodes.map(({ name }) => name),
  ): Promise<string> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const status = await this.status(names[0]!).catch(() => null);
      if (status !== null && status.primary !== null && status.accepting && isWhole(status, names))
        return status.primary;
      if (performance.now() > deadline)
        throw new Error(
          `not whole after ${limitMs} ms: ${JSON.stringify(status?.members)}; ${await this.logs()}`,
        );
      await sleep(300);
    }
  }

  /** One row through a node's proxy port. */
  async sql(name: string, statement: string, port = 5432): Promise<string> {
    const client = new Client(connection(await this.get(name).address(), port));
    client.on("error", () => undefined);
    await client.connect();
    try {
      const result = await client.query({ text: statement, rowMode: "array" });
      return result.rows.map((row: unknown[]) => row.join("|")).join("\n");
    } finally {
      await client.end();
    }
  }

  /** Takes the node off its network; every connection falls silent. */
  async cut(name: string): Promise<void> {
    await this.get(name).disconnect();
  }

  async heal(name: string): Promise<void> {
    await this.get(name).connect(name);
  }

  /** wal-verify's own words about the archive. */
  async verify(name: string): Promise<{ readonly isSound: boolean; readonly text: string }> {
    const ran = await this.get(name).exec("wal-g", "wal-verify", "integrity", "timeline");
    const text = `${ran.stdout}${ran.stderr}`;
    return { isSound: ran.status === 0 && !/FAILURE/.test(text), text };
  }

  /** The ends of all logs, for a failure. */
  async logs(lines = 40): Promise<string> {
    const all = await Promise.all(
      this.nodes.map(async ({ name, node }) => {
        const { stdout, stderr } = await docker("logs", "--tail", String(lines), node.container);
        return `--- ${name}\n${stdout}${stderr}`;
      }),
    );
    return all.join("\n");
  }

  #of(name: string): ClusterNode {
    const found = this.nodes.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no node "${name}"`);
    return found;
  }
}

function isWhole({ members }: Status, names: readonly string[]): boolean {
  return names.every((name) => {
    const row = members.find((member) => member.name === name);
    return row !== undefined && row.inRoster && (row.role === "primary" || row.role === "standby");
  });
}

const connection = (host: string, port: number) => ({
  host,
  port,
  user: "postgres",
  password: PASSWORD,
  database: "postgres",
  connectionTimeoutMillis: 1_000,
  query_timeout: 3_000,
});

/**
 * A client that has the addresses of several nodes' proxies, writes one row after the other and goes to the next proxy when one
 * fails. It remembers what was acknowledged, and when.
 */
export class ClusterLedger {
  readonly entries: Entry[] = [];
  readonly #hosts: readonly string[];
  readonly #pauseMs: number;
  #isOver = false;
  #next = 1;
  #loops: Promise<void>[] = [];

  constructor(hosts: readonly string[], pauseMs = 10) {
    this.#hosts = hosts;
    this.#pauseMs = pauseMs;
  }

  static async create(host: string): Promise<void> {
    const client = new Client(connection(host, 5432));
    await client.connect();
    await client.query(
      "create table if not exists ledger (id bigint primary key, at timestamptz not null default now())",
    );
    await client.end();
  }

  /** Goes on with higher ids than any row that is there. */
  async continueBehind(host: string): Promise<void> {
    const client = new Client(connection(host, 5432));
    await client.connect();
    const { rows } = await client.query<{ most: string | null }>("select max(id) as most from ledger");
    await client.end();
    this.#next = Number(rows[0]?.most ?? 0) + 1_000;
  }

  start(clients = 2): void {
    for (let index = 0; index < clients; index += 1) this.#loops.push(this.#loop(index));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  /** The longest time without an acknowledgement from `fromMs` on. */
  longestGapMs(fromMs: number, toMs: number = performance.now()): number {
    let longest = 0;
    let last = fromMs;
    for (const { ackMs } of this.entries.toSorted((a, b) => a.ackMs - b.ackMs)) {
      if (ackMs < fromMs || ackMs > toMs) continue;
      longest = Math.max(longest, ackMs - last);
      last = ackMs;
    }
    return Math.max(longest, toMs - last);
  }

  /** Acknowledged rows that are not there. */
  async lost(host: string): Promise<readonly Entry[]> {
    const client = new Client(connection(host, 5432));
    await client.connect();
    const { rows } = await client.query<{ id: string }>("select id from ledger");
    await client.end();
    const there = new Set(rows.map(({ id }) => Number(id)));
    return this.entries.filter(({ id }) => !there.has(id)).sort((a, b) => a.ackMs - b.ackMs);
  }

  async #loop(first: number): Promise<void> {
    for (let turn = first; !this.#isOver; turn += 1) {
      const client = new Client(connection(this.#hosts[turn % this.#hosts.length]!, 5432));
      client.on("error", () => undefined);
      try {
        await client.connect();
        while (!this.#isOver) {
          const id = this.#next;
          this.#next += 1;
          await client.query("insert into ledger (id) values ($1)", [id]);
          this.entries.push({ id, ackMs: performance.now() });
          await sleep(this.#pauseMs);
        }
      } catch {
        await sleep(30);
      } finally {
        client.end().catch(() => undefined);
      }
    }
  }
}
