// Clusters of the real image: the same environment file once per node, and a client's book kept at every node's proxy port.

import { Client } from "pg";
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Bench, ImageNode } from "./image.ts";
import { connection } from "./cluster-ledger.ts";
import { docker, mustDocker } from "./image.ts";

const run = promisify(execFile);

export interface ClusterNode {
  readonly name: string;
  volume: string;
  node: ImageNode;
}

export interface ClusterOptions {
  /** Settings of all nodes, besides the store, the passwords and `NODES`. */
  readonly env?: Readonly<Record<string, string>>;
  /** More of one node's own. */
  readonly nodeEnv?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** More `docker run` options of all nodes. */
  readonly options?: readonly string[];
  readonly image?: string;
  /** Size of each node's volume; by default there is no limit but the machine's. */
  readonly volumeBytes?: number;
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
  readonly nodes: ClusterNode[] = [];
  readonly #env: Readonly<Record<string, string>>;
  readonly #more: ClusterOptions;
  readonly #addresses = new Map<string, string>();

  private constructor(bench: Bench, names: readonly string[], more: ClusterOptions) {
    this.bench = bench;
    this.#more = more;
    this.#env = {
      ...bench.storeEnv(`cluster-${Math.random().toString(36).slice(2, 8)}`),
      NODES: names.join(","),
      MEMORY_LIMIT: "512MB",
      ...more.env,
    };
  }

  /** Starts the nodes one after the other and waits until all of them are there. */
  static async start(
    bench: Bench,
    names: readonly string[],
    more: ClusterOptions = {},
  ): Promise<ImageCluster> {
    const cluster = new ImageCluster(bench, names, more);
    for (const name of names) await cluster.add(name);
    await cluster.whole(240_000);
    return cluster;
  }

  /** One more container on a fresh volume, or on the given one. */
  async add(name: string, volume?: string): Promise<void> {
    const own = volume ?? (await this.#volume());
    this.nodes.push({ name, volume: own, node: await this.#run(name, own) });
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
    entry.volume = volume;
    entry.node = await this.#run(name, volume);
  }

  /** Removes every container and starts new ones in this order: the network gives each another address. */
  async readdress(order: readonly string[]): Promise<void> {
    for (const { node } of this.nodes) if (await node.exists()) await node.remove();
    for (const name of order) {
      const entry = this.#of(name);
      entry.node = await this.#run(name, entry.volume);
    }
  }

  /** What a node says of the cluster; null when it says nothing. */
  async status(name: string): Promise<Status | null> {
    // As `holdfast cluster status --json`, without a Node process for each look.
    const ran = await this.get(name).exec("holdfast-hook", "cluster", "status", "--json");
    if (ran.status !== 0) return null;
    return JSON.parse(ran.stdout) as Status;
  }

  /** A node that says that it is a primary and accepts; null when there is none. `not` is not asked. */
  async primary(not: string | null = null): Promise<string | null> {
    const asked = this.nodes.filter(({ name }) => name !== not);
    const said = await Promise.all(asked.map(async ({ name }) => ((await this.#leads(name)) ? name : null)));
    return said.find((name) => name !== null) ?? null;
  }

  async #leads(name: string): Promise<boolean> {
    try {
      const address = this.#addresses.get(name) ?? (await this.get(name).address());
      const answer = await fetch(`http://${address}:5500/primary`, { signal: AbortSignal.timeout(1_000) });
      this.#addresses.set(name, address);
      await answer.text();
      return answer.status === 200;
    } catch {
      this.#addresses.delete(name);
      return false;
    }
  }

  /** Waits for a primary that accepts; with `not`, for another one. */
  async leads(limitMs: number, not: string | null = null): Promise<string> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const name = await this.primary(not);
      if (name !== null) return name;
      if (performance.now() > deadline)
        throw new Error(`no primary after ${limitMs} ms; ${await this.logs()}`);
      await sleep(100);
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

  /** The rows of a statement through a node's proxy port. */
  async sql(name: string, statement: string, port = 5432): Promise<string> {
    const client = new Client(connection(await this.get(name).address(), port));
    client.on("error", () => undefined);
    await client.connect();
    try {
      const results: unknown = await client.query({ text: statement, rowMode: "array" });
      // Several statements bring several results; the last one counts.
      const result = (Array.isArray(results) ? results.at(-1) : results) as { rows: unknown[][] };
      return result.rows.map((row) => row.join("|")).join("\n");
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

  /** Drops every packet between the node and these addresses, both ways, in the node's own network namespace. */
  async drop(name: string, addresses: readonly string[]): Promise<void> {
    for (const address of addresses) {
      await this.#filter(name, "-I", "INPUT", "-s", address);
      await this.#filter(name, "-I", "OUTPUT", "-d", address);
    }
  }

  /** Lets all packets pass again. */
  async undrop(name: string): Promise<void> {
    await this.#filter(name, "-F");
  }

  async #filter(name: string, ...rule: readonly string[]): Promise<void> {
    const pid = await mustDocker("inspect", "-f", "{{.State.Pid}}", this.get(name).container);
    const target = rule.length === 1 ? [] : ["-j", "DROP"];
    await run("nsenter", ["-t", pid, "-n", "iptables", "-w", ...rule, ...target]);
  }

  /** wal-verify's own words about the archive. */
  async verify(name: string): Promise<{ readonly isSound: boolean; readonly text: string }> {
    const ran = await this.get(name).exec("wal-g", "wal-verify", "integrity", "timeline");
    const text = `${ran.stdout}${ran.stderr}`;
    return { isSound: ran.status === 0 && !/FAILURE/.test(text), text };
  }

  /** When the node's log says that it let clients in, for the first time since `sinceMs`; by performance.now(). Null: it does not say so. */
  async openedMs(name: string, sinceMs: number): Promise<number | null> {
    const lines = await this.#linesSince(name, sinceMs);
    return lines.find(({ text }) => text.includes("doors: open"))?.atMs ?? null;
  }

  /** What the nodes' logs tell of a failover since `sinceMs`: milliseconds after it, node, sentence. */
  async timeline(sinceMs: number): Promise<readonly string[]> {
    const told = await Promise.all(
      this.nodes.map(async ({ name }) =>
        (await this.#linesSince(name, sinceMs))
          .filter(({ text }) => TOLD.test(text))
          .map(({ atMs, text }) => ({ atMs, text: `${name} ${TOLD.exec(text)![0]}` })),
      ),
    );
    return told
      .flat()
      .sort((a, b) => a.atMs - b.atMs)
      .map(({ atMs, text }) => `+${Math.round(atMs - sinceMs)} ${text}`);
  }

  async #linesSince(name: string, sinceMs: number): Promise<readonly { atMs: number; text: string }[]> {
    const log = await this.get(name).log();
    return log.split("\n").flatMap((text) => {
      const atMs = Date.parse(/^\S+/.exec(text)?.[0] ?? "") - performance.timeOrigin;
      return atMs >= sinceMs ? { atMs, text } : [];
    });
  }

  /** The ends of all logs, for a failure. */
  async logs(lines = Number(process.env["HOLDFAST_LOG_LINES"] ?? 40)): Promise<string> {
    const all = await Promise.all(
      this.nodes.map(async ({ name, node }) => {
        const { stdout, stderr } = await docker("logs", "--tail", String(lines), node.container);
        return `--- ${name}\n${stdout}${stderr}`;
      }),
    );
    return all.join("\n");
  }

  async #volume(): Promise<string> {
    const { volumeBytes } = this.#more;
    return await (volumeBytes === undefined ? this.bench.volume() : this.bench.smallVolume(volumeBytes));
  }

  async #run(name: string, volume: string): Promise<ImageNode> {
    const { nodeEnv, options, image } = this.#more;
    const env = { ...this.#env, ...nodeEnv?.[name] };
    const run = { name, volume, env, ...(options === undefined ? {} : { options }) };
    return await this.bench.run(image === undefined ? run : { ...run, image });
  }

  #of(name: string): ClusterNode {
    const found = this.nodes.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no node "${name}"`);
    return found;
  }
}

/** Sentences that make up a failover. */
const TOLD =
  /gate begun|gate abandoned|promoted|doors: \w+|Postgres was killed|Postgres goes on|rejoin: [\w-]+|rewound|hand-over: [\w-]+|this node is a \w+|copied from the primary|the volume holds a standby/;

/** Everybody is in sight: one leads, the others stream. */
function isWhole({ members, primary }: Status, names: readonly string[]): boolean {
  return names.every((name) => {
    const row = members.find((member) => member.name === name);
    if (row === undefined || !row.inRoster || !["itself", "alive"].includes(row.sight)) return false;
    return row.role === (name === primary ? "primary" : "standby");
  });
}
