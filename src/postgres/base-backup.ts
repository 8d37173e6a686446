// A base backup over the replication protocol, as events. The server reads the files; nothing of them is touched here.
// https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-BASE-BACKUP

import { AppError } from "../base/errors.ts";
import { type Lsn, parseLsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import type { ReplicationConnection } from "./replication-connection.ts";
import type { ReplicationRow } from "./replication-parser.ts";
import { literal, text } from "./replication-wire.ts";
import { SQLSTATE, ServerError } from "./server-error.ts";

export interface BaseBackupOptions {
  readonly label: string;
  /** The server checks pages as it reads them; without effect on one without checksums. */
  readonly verifiesChecksums: boolean;
  /** The server sends no faster than this, within its own limits of 32 kB/s to 1 GB/s; null: no limit. */
  readonly bytesPerSecond: number | null;
}

export interface BaseTablespace {
  /** null: the data directory itself. */
  readonly oid: string | null;
  readonly location: string | null;
  /** As the server estimated at the start. */
  readonly bytes: number;
}

export type BaseBackupEvent =
  /** The first one: where the backup begins, and what will come. */
  | {
      readonly kind: "start";
      readonly lsn: Lsn;
      readonly timeline: TimelineId;
      readonly tablespaces: readonly BaseTablespace[];
    }
  /** A tar begins; null: the data directory's. */
  | { readonly kind: "archive"; readonly tablespace: BaseTablespace | null }
  /** The next bytes of the tar. They belong to the taker. */
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  /** The server's words, such as those about a page whose checksum is wrong. */
  | { readonly kind: "warning"; readonly text: string }
  /** The last one. With `hasCorruptPages` the server found pages with wrong checksums, and sent them as they are. */
  | {
      readonly kind: "end";
      readonly lsn: Lsn;
      readonly timeline: TimelineId;
      readonly hasCorruptPages: boolean;
    };

/**
 * Asks for an immediate checkpoint, then yields the whole backup, without WAL. Does not wait for the archive. Left early,
 * the connection is closed and the server forgets the backup. Throws ServerError, and AppError on a server before 15.
 */
export async function* baseBackup(
  connection: ReplicationConnection,
  options: BaseBackupOptions,
  signal: AbortSignal,
): AsyncGenerator<BaseBackupEvent, void, undefined> {
  if (connection.serverMajor < OLDEST_MAJOR)
    throw new AppError(`the server is Postgres ${connection.serverMajor}`, {
      code: "BASE_BACKUP_VERSION",
      hint: `over the replication protocol ${OLDEST_MAJOR} and later can be backed up; give the data directory instead`,
    });
  const answer = new Answer();
  try {
    for await (const event of connection.run(commandOf(options), signal)) {
      if (event.kind === "row") answer.rows.push(event.row);
      if (event.kind === "archive") {
        yield* answer.begin();
        yield { kind: "archive", tablespace: answer.tablespaceOf(event) };
      }
      if (event.kind === "archiveData") yield { kind: "data", bytes: event.bytes };
      if (event.kind === "notice" && event.severity === "WARNING")
        yield { kind: "warning", text: event.text };
    }
  } catch (error) {
    // After everything was sent the server says so once more, as an error.
    const isWhole =
      error instanceof ServerError && error.sqlState === SQLSTATE.dataCorrupted && answer.hasEnd;
    if (!isWhole) throw error;
    yield answer.end(true);
    return;
  }
  yield answer.end(false);
}

/** The rows of the answer: where it starts, its tablespaces, and behind the archives where it ends. */
class Answer {
  rows: ReplicationRow[] = [];
  #tablespaces: readonly BaseTablespace[] | null = null;

  get hasEnd(): boolean {
    return this.#tablespaces !== null && this.rows.length > 0;
  }

  *begin(): Generator<BaseBackupEvent> {
    if (this.#tablespaces !== null) return;
    const [position, ...rows] = this.rows;
    this.rows = [];
    this.#tablespaces = rows.map(([oid = null, location = null, kilobytes]) => ({
      oid,
      location,
      bytes: Number(kilobytes ?? 0) * 1024,
    }));
    yield { kind: "start", ...positionOf(position), tablespaces: this.#tablespaces };
  }

  /** Archives are named after the tablespace's OID. */
  tablespaceOf({ name, path }: { readonly name: string; readonly path: string }): BaseTablespace | null {
    if (path === "") return null;
    const oid = /^(\d+)\.tar$/.exec(name)?.[1];
    const found = this.#tablespaces?.find((tablespace) => tablespace.oid === oid && oid !== undefined);
    if (found === undefined)
      throw new ServerError(`the server sends the archive "${name}", which is none of its tablespaces`);
    return found;
  }

  end(hasCorruptPages: boolean): BaseBackupEvent {
    if (!this.hasEnd) throw new ServerError("the server ended the base backup without saying where it ends");
    return { kind: "end", ...positionOf(this.rows.at(-1)), hasCorruptPages };
  }
}

const positionOf = (
  row: ReplicationRow | undefined,
): { readonly lsn: Lsn; readonly timeline: TimelineId } => ({
  lsn: parseLsn(text(row, 0)),
  timeline: Number(text(row, 1)),
});

function commandOf({ label, verifiesChecksums, bytesPerSecond }: BaseBackupOptions): string {
  const options = [
    `LABEL ${literal(label)}`,
    "PROGRESS true",
    "CHECKPOINT 'fast'",
    "WAIT false",
    "TABLESPACE_MAP true",
    "MANIFEST 'no'",
    `VERIFY_CHECKSUMS ${verifiesChecksums}`,
  ];
  if (bytesPerSecond !== null) {
    const kilobytes = Math.round(bytesPerSecond / 1024);
    options.push(`MAX_RATE ${Math.min(MOST_KILOBYTES, Math.max(LEAST_KILOBYTES, kilobytes))}`);
  }
  return `BASE_BACKUP (${options.join(", ")})`;
}

/** Since then one copy holds all archives, with the start of each marked. */
const OLDEST_MAJOR = 15;
/** The server's own bounds for MAX_RATE. */
const LEAST_KILOBYTES = 32;
const MOST_KILOBYTES = 1_048_576;
