// The session around a base backup: pg_backup_start … pg_backup_stop, tied to one connection.

import { AppError } from "../base/errors.ts";
import { type Lsn, parseLsn } from "../wal/lsn.ts";
import { must, one } from "./queries.ts";
import { type ServerAddress } from "./server-address.ts";
import { connectSql, type SqlConnection } from "./sql.ts";

export interface BackupStop {
  readonly stop: Lsn;
  /** Goes into the backup as `backup_label`, byte for byte. */
  readonly label: string;
  /** Goes into the backup as `tablespace_map`; empty without tablespaces. */
  readonly tablespaceMap: string;
}

export interface BackupSessionOptions {
  /** True asks for an immediate checkpoint (default); false spreads it. */
  readonly fast?: boolean;
  readonly signal: AbortSignal;
}

/** Opens a connection and starts a backup on it; no deadline for the checkpoint. Works on a standby too. */
export async function startBackup(
  address: ServerAddress,
  label: string,
  { fast = true, signal }: BackupSessionOptions,
): Promise<BackupSession> {
  const sql = await connectSql(address);
  try {
    const [row] = await sql.query("select pg_backup_start($1, $2) as lsn", [label, fast], {
      timeoutMs: Infinity,
      signal,
    });
    const start = parseLsn(row?.["lsn"] ?? "");
    const name = await one(sql, "select pg_is_in_recovery() as standby");
    return new BackupSession(sql, start, name["standby"] === "t");
  } catch (error) {
    await sql.close();
    throw error;
  }
}

/** A backup that was started. Left early, Postgres forgets it with the connection. */
export class BackupSession implements AsyncDisposable {
  /** REDO of the backup's checkpoint. */
  readonly start: Lsn;
  readonly fromStandby: boolean;
  readonly #sql: SqlConnection;

  constructor(sql: SqlConnection, start: Lsn, fromStandby: boolean) {
    this.#sql = sql;
    this.start = start;
    this.fromStandby = fromStandby;
  }

  /** For queries in the same session, such as the catalog's names. */
  get sql(): SqlConnection {
    return this.#sql;
  }

  /** Throws when the session is gone, and the backup with it. */
  async ping(): Promise<void> {
    await one(this.#sql, "select 1 as alive");
  }

  /** Ends the backup without waiting for the archiver: the caller sees to the WAL. On a standby it throws when that was promoted meanwhile. */
  async stop({
    timeoutMs = Infinity,
    signal,
  }: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<BackupStop> {
    const [row] = await this.#sql.query("select lsn, labelfile, spcmapfile from pg_backup_stop(false)", [], {
      timeoutMs,
      ...(signal === undefined ? {} : { signal }),
    });
    if (row === undefined) throw new BackupSessionError("pg_backup_stop answered without a row");
    return {
      stop: parseLsn(must(row, "lsn")),
      label: must(row, "labelfile"),
      tablespaceMap: row["spcmapfile"] ?? "",
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sql.close();
  }
}

class BackupSessionError extends AppError {
  constructor(message: string) {
    super(message, { code: "BACKUP_SESSION", hint: "read the server's log around this moment" });
  }
}
