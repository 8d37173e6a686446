// What of a data directory does not belong into a backup. Storage format, section 7.

export const CONTROL_FILE = "/global/pg_control";

/** The last step of a path. */
export const baseName = (name: string): string => name.slice(name.lastIndexOf("/") + 1);

/** Whether a tar name (with its leading slash) stands for something that a backup holds; of an excluded folder only its header. */
export function isKept(name: string, kind: "file" | "directory"): boolean {
  const steps = name.split("/").slice(1);
  const last = steps.pop() ?? "";
  if (steps.some((step) => EXCLUDED.has(step))) return false;
  if (kind === "file" && EXCLUDED.has(last)) return false;
  return !isLeftOut(last, steps.length === 0 ? "/" : `/${steps.join("/")}`, new Set());
}

const isDatabaseFolder = (name: string): boolean => /^\/(?:base\/\d+|pg_tblspc\/\d+\/[^/]+\/\d+)$/.test(name);

/** Relations of a database's folder that have an init fork: their other forks are made anew after a restore. */
export function unloggedRelations(folder: string, entries: readonly string[]): ReadonlySet<string> {
  if (!isDatabaseFolder(folder)) return new Set();
  return new Set(entries.flatMap((entry) => /^(\d+)_init$/.exec(entry)?.slice(1) ?? []));
}

/** Besides WAL-G's list: caches, temporary and unlogged relations, as pg_basebackup leaves them out. */
export function isLeftOut(entry: string, folder: string, unlogged: ReadonlySet<string>): boolean {
  if (entry.startsWith("pg_internal.init")) return true;
  if (folder === "/") return LEFT_OUT_AT_TOP.has(entry);
  if (!isDatabaseFolder(folder)) return false;
  if (/^t\d+_\d+/.test(entry)) return true;
  const relation = /^(\d+)(?:_(?:fsm|vm))?(?:\.\d+)?$/.exec(entry)?.[1];
  return relation !== undefined && unlogged.has(relation);
}

/** By name, at any depth: folders keep their header, files vanish. */
export const EXCLUDED: ReadonlySet<string> = new Set([
  ...["log", "pg_log", "pg_xlog", "pg_wal", "pgsql_tmp", "postgresql.auto.conf.tmp", "postmaster.pid"],
  ...["postmaster.opts", "recovery.conf", "pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial"],
  ...["pg_stat_tmp", "pg_snapshots", "pg_subtrans", "standby.signal"],
]);

/** Ours: what a restore makes anew or must not find. */
const LEFT_OUT_AT_TOP: ReadonlySet<string> = new Set([
  ...["backup_label", "tablespace_map", "backup_manifest", "recovery.signal", "current_logfiles"],
  "holdfast.fetching",
]);
