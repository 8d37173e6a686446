// Connections for SQL, with limits; the queries stand in queries.ts, slots.ts, backup-session.ts and roles.ts.

import { Client } from "pg";
import { clientSettings, describeAddress, type ServerAddress } from "./server-address.ts";
import { asServerError, ServerError } from "./server-error.ts";

/** Every value as the server's text, or null: no surprise by a driver's conversion. */
export type SqlRow = Readonly<Record<string, string | null>>;
export type SqlValue = string | number | bigint | boolean | null;

export interface QueryOptions {
  /** Past this the connection is given up (default: the connection's `queryTimeoutMs`); Infinity for work without a deadline. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** The slice of a connection that the queries need. */
export interface Sql {
  /** Runs one statement. Throws ServerError with its SQLSTATE, or without one when the connection was lost or too slow. */
  query(text: string, values?: readonly SqlValue[], options?: QueryOptions): Promise<readonly SqlRow[]>;
}

export interface SqlOptions {
  /** Default 30,000 ms. */
  readonly queryTimeoutMs?: number;
}

/**
 * Opens one connection. Its sessions write with `synchronous_commit=local`: the supervisor must never hang with the commits that it is to help.
 * And on a full volume too: what it writes is little, and needed.
 * Throws ServerError.
 */
export async function connectSql(address: ServerAddress, options: SqlOptions = {}): Promise<SqlConnection> {
  const client = new Client({
    ...clientSettings(address),
    options:
      "-c synchronous_commit=local -c default_transaction_read_only=off -c search_path=pg_catalog -c DateStyle=ISO -c TimeZone=UTC",
    types: { getTypeParser: () => (value: unknown) => value },
  });
  const connection = new SqlConnection(client, options.queryTimeoutMs ?? QUERY_TIMEOUT_MS);
  try {
    await client.connect();
  } catch (error) {
    throw asServerError(error, `connect to ${describeAddress(address)}`);
  }
  return connection;
}

/** One session. Queries wait for each other. */
export class SqlConnection implements Sql, AsyncDisposable {
  readonly #client: Client;
  readonly #queryTimeoutMs: number;
  #lost: Error | null = null;

  constructor(client: Client, queryTimeoutMs: number) {
    this.#client = client;
    this.#queryTimeoutMs = queryTimeoutMs;
    client.on("error", (error) => {
      this.#lost ??= error;
    });
    client.on("end", () => {
      this.#lost ??= new Error("the connection ended");
    });
  }

  /** False once the connection is of no more use. */
  get usable(): boolean {
    return this.#lost === null;
  }

  async query(
    text: string,
    values: readonly SqlValue[] = [],
    options: QueryOptions = {},
  ): Promise<readonly SqlRow[]> {
    if (this.#lost !== null) throw new ServerError(`could not run "${brief(text)}"`, { cause: this.#lost });
    const { timeoutMs = this.#queryTimeoutMs, signal } = options;
    signal?.throwIfAborted();
    const { promise: cut, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal?.reason);
    const timer =
      timeoutMs === Infinity
        ? undefined
        : setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    const answer = this.#client.query({ text, values: values.map(plain) });
    answer.catch(() => undefined); // when the limit came first
    try {
      const { rows } = await Promise.race([answer, cut]);
      return rows as SqlRow[];
    } catch (error) {
      const failure = asServerError(error, `run "${brief(text)}"`);
      // No SQLSTATE: a limit, an abort or a broken connection. The session's state is unknown, so it ends.
      if (failure.sqlState === null) await this.#giveUp(failure);
      if (signal?.aborted === true) throw signal.reason;
      throw failure;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async close(): Promise<void> {
    const usable = this.usable;
    this.#lost ??= new Error("the connection was closed on this side");
    if (!usable) return this.#destroy();
    const timer = setTimeout(() => this.#destroy(), CLOSE_LIMIT_MS);
    await this.#client.end().catch(() => undefined);
    clearTimeout(timer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #giveUp(error: Error): Promise<void> {
    this.#lost ??= error;
    this.#destroy();
  }

  #destroy(): void {
    (this.#client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }
}

/** A connection that opens at its first query, and again after it was lost. A query that fails is not repeated. */
export class ReconnectingSql implements Sql, AsyncDisposable {
  readonly #address: ServerAddress;
  readonly #options: SqlOptions;
  #connection: Promise<SqlConnection> | null = null;
  #closed = false;

  constructor(address: ServerAddress, options: SqlOptions = {}) {
    this.#address = address;
    this.#options = options;
  }

  async query(
    text: string,
    values?: readonly SqlValue[],
    options?: QueryOptions,
  ): Promise<readonly SqlRow[]> {
    const connection = await this.#open();
    return connection.query(text, values, options);
  }

  /** Closes what is open; the next query opens a new connection. */
  async disconnect(): Promise<void> {
    const open = this.#connection;
    this.#connection = null;
    const connection = await open?.catch(() => null);
    await connection?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.disconnect();
  }

  async #open(): Promise<SqlConnection> {
    if (this.#closed) throw new ServerError("the connection was closed on this side");
    const known = this.#connection;
    if (known !== null) {
      const connection = await known.catch(() => null);
      if (connection?.usable === true) return connection;
      if (this.#connection === known) this.#connection = null;
    }
    this.#connection ??= connectSql(this.#address, this.#options);
    return this.#connection;
  }
}

/** Runs `work` on a connection of its own. */
export async function withSql<T>(
  address: ServerAddress,
  work: (sql: Sql) => Promise<T>,
  options?: SqlOptions,
): Promise<T> {
  await using connection = await connectSql(address, options);
  return await work(connection);
}

/** Quotes a name for SQL. */
export function quoteIdentifier(name: string): string {
  if (name.includes("\0")) throw new RangeError("a name cannot hold a zero byte");
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a text for SQL, whatever `standard_conforming_strings` says. */
export function quoteLiteral(text: string): string {
  if (text.includes("\0")) throw new RangeError("a text cannot hold a zero byte");
  const quoted = `'${text.replaceAll("'", "''").replaceAll("\\", "\\\\")}'`;
  return text.includes("\\") ? ` E${quoted}` : quoted;
}

const plain = (value: SqlValue): string | null => (value === null ? null : String(value));

/** The statement's first words; never its values, which may be secrets. */
function brief(text: string): string {
  const line = text
    .replaceAll(/'(?:[^']|'')*'/g, "'…'")
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length > 100 ? `${line.slice(0, 100)}…` : line;
}

const QUERY_TIMEOUT_MS = 30_000;
const CLOSE_LIMIT_MS = 2_000;
