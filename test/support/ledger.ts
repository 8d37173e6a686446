// A client's own book of acknowledged rows: what it was told is committed, and when. It lives outside the containers.

import { Client, type ClientConfig } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { PASSWORD } from "./image.ts";

export interface Entry {
  readonly id: number;
  /** When the acknowledgement arrived, by this process's monotonic clock. */
  readonly ackMs: number;
}

export interface LedgerOptions {
  readonly host: string;
  readonly port?: number;
  readonly clients?: number;
  /** Pause of each client between two commits. */
  readonly pauseMs?: number;
  /** Reconnect after an error instead of ending; for failovers. */
  readonly keepTrying?: boolean;
}

/** Writes rows with ascending ids and remembers each that was acknowledged. */
export class Ledger {
  readonly entries: Entry[] = [];
  /** Commits that Postgres acknowledged with a warning, e.g. a cancelled wait: they promise nothing. */
  warned = 0;
  readonly #options: LedgerOptions;
  readonly #loops: Promise<void>[] = [];
  #stopped = false;
  #next = 1;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /** The table; idempotent. */
  static async create(host: string, port = 5432): Promise<void> {
    const client = new Client(connection(host, port));
    await client.connect();
    await client.query(
      "create table if not exists ledger (id bigint primary key, at timestamptz not null default now())",
    );
    await client.end();
  }

  start(): void {
    for (let client = 0; client < (this.#options.clients ?? 2); client += 1) this.#loops.push(this.#loop());
  }

  /** Ends the loops; what was under way is not waited for. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  /** Goes on with a higher id than any row, for a second life of the database. */
  continueFrom(id: number): void {
    this.#next = Math.max(this.#next, id);
  }

  lastAckMs(): number {
    return Math.max(0, ...this.entries.map((entry) => entry.ackMs));
  }

  /** Acknowledged rows that are not there, newest acknowledgement last. */
  async lost(host: string, port = 5432): Promise<readonly Entry[]> {
    const client = new Client(connection(host, port));
    await client.connect();
    const rows = await client.query<{ id: string }>("select id from ledger");
    await client.end();
    const there = new Set(rows.rows.map((row) => Number(row.id)));
    return this.entries.filter((entry) => !there.has(entry.id)).sort((a, b) => a.ackMs - b.ackMs);
  }

  /** The longest time without an acknowledgement between two moments. */
  longestGapMs(fromMs: number, toMs: number): number {
    const acks = this.entries.map((entry) => entry.ackMs).filter((at) => at >= fromMs && at <= toMs);
    let longest = 0;
    let last = fromMs;
    for (const at of [...acks.sort((a, b) => a - b), toMs]) {
      longest = Math.max(longest, at - last);
      last = at;
    }
    return longest;
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      const client = new Client(connection(this.#options.host, this.#options.port ?? 5432));
      client.on("error", () => undefined);
      client.on("notice", () => (this.warned += 1));
      try {
        await client.connect();
        await this.#writeUntilStopped(client);
      } catch {
        if (this.#options.keepTrying !== true) return;
        await sleep(50);
      } finally {
        client.end().catch(() => undefined);
      }
    }
  }

  async #writeUntilStopped(client: Client): Promise<void> {
    while (!this.#stopped) {
      const id = this.#next;
      this.#next += 1;
      await client.query("insert into ledger (id) values ($1)", [id]);
      this.entries.push({ id, ackMs: performance.now() });
      if (this.#options.pauseMs !== undefined) await sleep(this.#options.pauseMs);
    }
  }
}

/** `fraction` of the sorted values lies at or below the result; NaN for none. */
export function percentile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * fraction) - 1)] ?? Number.NaN;
}

const connection = (host: string, port: number): ClientConfig => ({
  host,
  port,
  user: "postgres",
  password: PASSWORD,
  database: "postgres",
  connectionTimeoutMillis: 3000,
  query_timeout: 10_000,
});
