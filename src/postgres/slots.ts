// Physical replication slots, by SQL. A slot that is `lost` must be dropped and created anew (postgres-facts, section 8).

import { formatLsn, type Lsn, parseLsn } from "../wal/lsn.ts";
import { flag, lsnOrNull, must, numberOrNull } from "./queries.ts";
import { ServerError, SQLSTATE } from "./server-error.ts";
import type { QueryOptions, Sql } from "./sql.ts";

/** `null`: the slot never held WAL. 15 and 17 accept a start on a `lost` slot while the WAL happens to be there: look here first. */
type WalStatus = "reserved" | "extended" | "unreserved" | "lost" | null;

export interface Slot {
  readonly name: string;
  readonly kind: "physical" | "logical";
  readonly active: boolean;
  readonly activePid: number | null;
  readonly restart: Lsn | null;
  readonly walStatus: WalStatus;
  /** Bytes that may still be written before the slot is lost; null without a limit. */
  readonly safeBytes: bigint | null;
}

export async function listSlots(sql: Sql, options?: QueryOptions): Promise<readonly Slot[]> {
  const rows = await sql.query(
    `select slot_name, slot_type, active, active_pid, restart_lsn, wal_status, safe_wal_size
     from pg_replication_slots order by slot_name`,
    [],
    options,
  );
  return rows.map((row) => ({
    name: must(row, "slot_name"),
    kind: must(row, "slot_type") === "logical" ? "logical" : "physical",
    active: flag(row, "active"),
    activePid: numberOrNull(row, "active_pid"),
    restart: lsnOrNull(row, "restart_lsn"),
    walStatus: (row["wal_status"] ?? null) as WalStatus,
    safeBytes:
      row["safe_wal_size"] === null || row["safe_wal_size"] === undefined
        ? null
        : BigInt(row["safe_wal_size"]),
  }));
}

export async function findSlot(sql: Sql, name: string, options?: QueryOptions): Promise<Slot | null> {
  return (await listSlots(sql, options)).find((slot) => slot.name === name) ?? null;
}

/** Makes sure that a usable physical slot of this name exists; `fresh` when it was created or replaced because it was lost. */
export async function ensureSlot(sql: Sql, name: string, options?: QueryOptions): Promise<"kept" | "fresh"> {
  const found = await findSlot(sql, name, options);
  if (found !== null && found.kind === "logical") {
    throw new ServerError(`slot "${name}" is a logical one`, {
      hint: "drop it, or rename it: this name is ours",
    });
  }
  if (found !== null && found.walStatus !== "lost") return "kept";
  if (found !== null) await dropSlot(sql, name, options);
  try {
    await sql.query("select pg_create_physical_replication_slot($1, true)", [name], options);
  } catch (error) {
    if (error instanceof ServerError && error.sqlState === SQLSTATE.duplicateObject) return "kept";
    throw error;
  }
  return "fresh";
}

/** True when there was one. Throws `objectInUse` while a walsender holds it: see `freeSlot`. */
export async function dropSlot(sql: Sql, name: string, options?: QueryOptions): Promise<boolean> {
  const rows = await sql.query(
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1",
    [name],
    options,
  );
  return rows.length > 0;
}

/** Ends the walsender that holds the slot; true when there was one. */
export async function freeSlot(sql: Sql, name: string, options?: QueryOptions): Promise<boolean> {
  const rows = await sql.query(
    "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null",
    [name],
    options,
  );
  return rows.length > 0;
}

/** Moves a slot forward; the position it has afterwards. Going back is refused by the server, beyond the replayed position it is clamped. */
export async function advanceSlot(sql: Sql, name: string, to: Lsn, options?: QueryOptions): Promise<Lsn> {
  const [row] = await sql.query(
    "select end_lsn from pg_replication_slot_advance($1, $2::pg_lsn)",
    [name, formatLsn(to)],
    options,
  );
  if (row === undefined) throw new ServerError(`the server did not advance slot "${name}"`);
  return parseLsn(must(row, "end_lsn"));
}
