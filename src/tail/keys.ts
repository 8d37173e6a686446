// Names under tail_v1. None holds 24 characters of [0-9A-F] in a row: WAL-G's delete would take it for a segment.

export const LOG_PREFIX = "tail_v1/log/";
export const BASE_PREFIX = "tail_v1/base/";
export const IDENTITY_KEY = "tail_v1/cluster.json";
export const WAL_PREFIX = "wal_005/";

/** Characters of the token in a name (rule U1). */
export const NAME_TOKEN_CHARACTERS = 16;

/** What a name under `log/` or `base/` says. `branch` is null where the store has conditional writes. */
export interface LogName {
  readonly seq: number;
  readonly branch: string | null;
}

/** Key of a slot; `branch` is the first 16 digits of the token on a store without conditional writes, else null. */
export const slotKey = (seq: number, branch: string | null = null): string => LOG_PREFIX + name(seq, branch);

export const baseKey = (seq: number, branch: string | null = null): string => BASE_PREFIX + name(seq, branch);

/** The name behind `prefix`, or null for names that are not ours. */
export function parseLogKey(key: string, prefix: string): LogName | null {
  if (!key.startsWith(prefix)) return null;
  const match = /^(\d{20})(?:-([0-9a-f]{16}))?$/.exec(key.slice(prefix.length));
  if (match === null) return null;
  const seq = Number(match[1]);
  return Number.isSafeInteger(seq) ? { seq, branch: match[2] ?? null } : null;
}

/** The last key that sorts before every key of position `seq`. */
export const keyBefore = (seq: number): { readonly after: string } | undefined =>
  seq === 0 ? undefined : { after: `${LOG_PREFIX}${digits(seq - 1)}~` };

const name = (seq: number, branch: string | null): string =>
  branch === null ? digits(seq) : `${digits(seq)}-${branch.slice(0, NAME_TOKEN_CHARACTERS)}`;
const digits = (seq: number): string => String(seq).padStart(20, "0");
