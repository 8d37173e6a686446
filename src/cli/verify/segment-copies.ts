// Who may still have a segment that wal_005 lacks: the tail log's slots, this node's pg_wal, the server of PGHOST, the other members.
// A copy is only a candidate: `prove-segments.ts` judges it by what it holds.

import { open } from "node:fs/promises";
import { join } from "node:path";
import type { PathReader } from "../../archive/path-reader.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { ServerAddress } from "../../postgres/server-address.ts";
import { connectSql, type SqlConnection } from "../../postgres/sql.ts";
import { callLocally } from "../../supervisor/local-client.ts";
import type { NodeView } from "../../supervisor/node-view.ts";
import { WalGapError } from "../../tail/errors.ts";
import { type Segment, segmentName } from "../../wal/segment-name.ts";
import { readTable } from "../read-table.ts";
import { NODE_TABLE, POSTGRES_TABLE } from "../settings-table.ts";
import { socketPath } from "../status-command.ts";
import type { Call } from "../walg/command.ts";
import { serverOf } from "../walg/server.ts";
import { settingsWorld } from "../wiring.ts";

/** One place that may have copies of segments. */
export interface SegmentSource extends AsyncDisposable {
  /** For people: `pg_wal of this node`. */
  readonly name: string;
  /** Why it gives nothing although it may have something; null while it answers. */
  readonly trouble: string | null;
  /** The whole segment as it lies there, unchecked; null when this place has none, or does not answer. Throws WalGapError, and when aborted. */
  read(segment: Segment, signal: AbortSignal): Promise<Uint8Array | null>;
}

/** Every place that may have something, the surest and cheapest first. */
export async function segmentSources(call: Call, reader: PathReader): Promise<readonly SegmentSource[]> {
  const { settings, log, signal } = call;
  const { segmentBytes } = reader.source;
  const env = { env: settings.env };
  const sources: SegmentSource[] = [];
  if (reader.view !== null) sources.push(new LogSource(reader, log));
  const data = settings.text("PGDATA");
  if (data !== undefined) {
    const doubt = reader.view === null ? null : await doubtOfOwnFiles(socketPath(env), signal);
    sources.push(new FolderSource(join(data, "pg_wal"), segmentBytes, doubt));
  }
  sources.push(new ServerSource("the server", [await serverOf(settings)], segmentBytes));
  for (const { name, host } of await otherMembers(socketPath(env), signal))
    sources.push(new ServerSource(name, memberAddresses(call, host), segmentBytes));
  return sources;
}

/**
 * Beside a tail log a stopped or fenced node may hold other bytes under the same name (X10, X11). While its doors are open its junction was
 * compared (T6, G8); another server's answer says the same, since it answers nobody while its doors are closed.
 */
async function doubtOfOwnFiles(socket: string, signal: AbortSignal): Promise<string | null> {
  try {
    const { lines } = await callLocally(socket, "status", signal);
    const { doorsOpen, phase, because } = JSON.parse(lines.join("\n")) as NodeView;
    return doorsOpen ? null : `the doors are closed, the node is ${phase}: ${because}`;
  } catch (error) {
    signal.throwIfAborted();
    return `the prefix has a tail log, and ${messageOf(error)}`;
  }
}

interface OtherMember {
  readonly name: string;
  readonly host: string;
}

async function otherMembers(socket: string, signal: AbortSignal): Promise<readonly OtherMember[]> {
  const answer = await callLocally(socket, "cluster status --json", signal).catch(() => null);
  signal.throwIfAborted();
  if (answer === null || answer.exit !== 0) return [];
  const { node, members } = JSON.parse(answer.lines.join("\n")) as {
    readonly node: string;
    readonly members: readonly OtherMember[];
  };
  return members.filter(({ name }) => name !== node);
}

/** Encrypted where the member offers it. The password itself is never sent: SCRAM. */
function memberAddresses({ settings }: Call, host: string): readonly ServerAddress[] {
  const silent = { problems: [], notices: [] };
  const { POSTGRES_PORT: port } = readTable(NODE_TABLE, settings.env, settingsWorld, silent);
  const { POSTGRES_USER: user, POSTGRES_PASSWORD: password } = readTable(
    POSTGRES_TABLE,
    settings.env,
    settingsWorld,
    silent,
  );
  const address: ServerAddress = {
    host,
    port: port ?? 5433,
    user: user ?? "postgres",
    ...(password === null ? {} : { password }),
    applicationName: "holdfast verify",
    connectTimeoutMs: 5_000,
  };
  return [
    { ...address, tls: { kind: "require" } },
    { ...address, tls: { kind: "off" } },
  ];
}

/** Bytes that the log accepted and still has. */
class LogSource implements SegmentSource {
  readonly name = "the tail log";
  readonly trouble = null;
  readonly #reader: PathReader;
  readonly #log: Log;

  constructor(reader: PathReader, log: Log) {
    this.#reader = reader;
    this.#log = log;
  }

  async read(segment: Segment, signal: AbortSignal): Promise<Uint8Array | null> {
    try {
      const found = await this.#reader.segment(segment, signal);
      return found.kind === "complete" ? found.bytes : null;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof WalGapError) throw error;
      this.#log.debug("the log does not have a segment any more", { because: messageOf(error) });
      return null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A pg_wal on this machine; with `trouble` its files are not used. */
class FolderSource implements SegmentSource {
  readonly name = "pg_wal of this node";
  readonly trouble: string | null;
  readonly #folder: string;
  readonly #segmentBytes: number;

  constructor(folder: string, segmentBytes: number, trouble: string | null) {
    this.trouble = trouble;
    this.#folder = folder;
    this.#segmentBytes = segmentBytes;
  }

  async read(segment: Segment): Promise<Uint8Array | null> {
    if (this.trouble !== null) return null;
    try {
      await using file = await open(join(this.#folder, segmentName(segment, this.#segmentBytes)), "r");
      const { size } = await file.stat();
      return size === this.#segmentBytes ? await file.readFile() : null;
    } catch {
      return null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A running server, asked for the file. One that does not answer is not asked again. */
class ServerSource implements SegmentSource {
  readonly name: string;
  readonly #addresses: readonly ServerAddress[];
  readonly #segmentBytes: number;
  trouble: string | null = null;
  #sql: Promise<SqlConnection | null> | null = null;

  constructor(name: string, addresses: readonly ServerAddress[], segmentBytes: number) {
    this.name = `${name} (${addresses[0]!.host}:${addresses[0]!.port})`;
    this.#addresses = addresses;
    this.#segmentBytes = segmentBytes;
  }

  async read(segment: Segment, signal: AbortSignal): Promise<Uint8Array | null> {
    const sql = await (this.#sql ??= this.#connect());
    if (sql === null || !sql.usable) return null;
    const name = segmentName(segment, this.#segmentBytes);
    const pieces: Buffer[] = [];
    try {
      for (let at = 0; at < this.#segmentBytes; at += PIECE_BYTES) {
        const [row] = await sql.query(
          "select encode(pg_read_binary_file('pg_wal/' || $1, $2::bigint, $3::bigint, true), 'base64') as bytes",
          [name, at, Math.min(PIECE_BYTES, this.#segmentBytes - at)],
          { signal },
        );
        const text = row?.["bytes"];
        if (text === null || text === undefined) return null;
        pieces.push(Buffer.from(text, "base64"));
      }
    } catch (error) {
      signal.throwIfAborted();
      this.trouble = messageOf(error);
      return null;
    }
    const bytes = Buffer.concat(pieces);
    return bytes.byteLength === this.#segmentBytes ? bytes : null;
  }

  async #connect(): Promise<SqlConnection | null> {
    for (const address of this.#addresses) {
      try {
        const sql = await connectSql(address);
        this.trouble = null;
        return sql;
      } catch (error) {
        this.trouble = messageOf(error);
      }
    }
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#sql)?.close();
  }
}

/** Of a file, in one query; as text it is a third longer. */
const PIECE_BYTES = 4 * 1024 * 1024;
