// A client's own book, kept at the proxy ports of several nodes: what was acknowledged, by whom, and when.

import { Client, type ClientConfig } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { PASSWORD } from "./image.ts";
import type { Entry } from "./ledger.ts";

/** A client that gives up on a silent node within seconds. */
export const connection = (host: string, port: number): ClientConfig => ({
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
  /** Acknowledged through a proxy port. */
  readonly entries: Entry[] = [];
  /** Acknowledged at one node's own port: not part of a gap, but part of what must not be lost. */
  readonly directEntries: Entry[] = [];
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

  /** One more client, at Postgres's own port of one node, that never goes elsewhere and sets itself free of read-only defaults. */
  startDirect(host: string): void {
    this.#loops.push(this.#direct(host));
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

  /** Times without an acknowledgement, from `fromMs` on, that are longer than `leastMs`. */
  gapsMs(fromMs: number, leastMs: number): readonly number[] {
    const at = this.entries.map(({ ackMs }) => ackMs).filter((ackMs) => ackMs >= fromMs);
    at.sort((a, b) => a - b);
    return [fromMs, ...at]
      .map((ackMs, index, all) => (all[index + 1] ?? ackMs) - ackMs)
      .filter((ms) => ms > leastMs);
  }

  /** Acknowledged rows that are not there. */
  async lost(host: string): Promise<readonly Entry[]> {
    const client = new Client(connection(host, 5432));
    await client.connect();
    const { rows } = await client.query<{ id: string }>("select id from ledger");
    await client.end();
    const there = new Set(rows.map(({ id }) => Number(id)));
    return [...this.entries, ...this.directEntries]
      .filter(({ id }) => !there.has(id))
      .sort((a, b) => a.ackMs - b.ackMs);
  }

  async #loop(first: number): Promise<void> {
    for (let turn = first; !this.#isOver; turn += 1)
      await this.#write(this.#hosts[turn % this.#hosts.length]!, 5432, this.entries);
  }

  async #direct(host: string): Promise<void> {
    while (!this.#isOver) {
      await this.#write(host, 5433, this.directEntries);
      await sleep(100);
    }
  }

  /** Until an error. */
  async #write(host: string, port: number, book: Entry[]): Promise<void> {
    const client = new Client(connection(host, port));
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query("set default_transaction_read_only = off");
      while (!this.#isOver) {
        const id = this.#next;
        this.#next += 1;
        await client.query("insert into ledger (id) values ($1)", [id]);
        book.push({ id, ackMs: performance.now() });
        await sleep(this.#pauseMs);
      }
    } catch {
      // Often enough to measure a gap, and not a load of its own on a node that starts.
      await sleep(100);
    } finally {
      client.end().catch(() => undefined);
    }
  }
}
