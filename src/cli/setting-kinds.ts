// Kinds of settings: how a text becomes a value, and how the kind reads in docs/settings.md. Pure.

/** One row of the settings table. */
export interface Setting<T> {
  readonly group: SettingGroup;
  /** What the value is, for people: `duration`, `bytes`, `yes or no`. */
  readonly kind: string;
  /** Throws RangeError whose message completes "NAME …" and does not repeat a secret. */
  readonly parse: (text: string) => T;
  readonly meaning: string;
  /** As it reads in the documents; `none` without one. */
  readonly shownDefault: string;
  readonly fallback: T | null;
  /** Other names that mean the same, in their order; the row's own name wins. */
  readonly aliases: readonly string[];
  /** The value is never printed. */
  readonly secret: boolean;
  /** `NAME_FILE` names a file that holds the value. */
  readonly file: boolean;
  /** May rightly begin and end with a quote. */
  readonly quotable: boolean;
}

export type SettingGroup =
  | "Store"
  | "Compression and encryption"
  | "WAL"
  | "Backups"
  | "Restore"
  | "Postgres"
  | "Cluster"
  | "Node"
  | "WAL-G commands";

export interface SettingOptions<T> {
  readonly fallback?: T;
  /** Needed when the fallback does not print as it would be typed. */
  readonly shownDefault?: string;
  readonly aliases?: readonly string[];
  readonly secret?: boolean;
  readonly file?: boolean;
  readonly quotable?: boolean;
}

/** Any kind, by its parser. */
export function setting<const T>(
  group: SettingGroup,
  kind: string,
  parse: (text: string) => T,
  meaning: string,
  options: SettingOptions<T> = {},
): Setting<T> {
  const { fallback = null } = options;
  return {
    group,
    kind,
    parse,
    meaning,
    fallback,
    shownDefault: options.shownDefault ?? (fallback === null ? "none" : String(fallback)),
    aliases: options.aliases ?? [],
    secret: options.secret ?? false,
    file: options.file ?? options.secret ?? false,
    quotable: options.quotable ?? false,
  };
}

export const text = (value: string): string => value;

export function yesOrNo(value: string): boolean {
  // Go's ParseBool, and what people write besides.
  if (/^(1|t|true|yes|on)$/i.test(value)) return true;
  if (/^(0|f|false|no|off)$/i.test(value)) return false;
  throw new RangeError(`is "${value}"; write true or false`);
}

/** A whole number from `least` to `most`. */
export const whole =
  (least: number, most: number) =>
  (value: string): number => {
    const number = /^-?\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= least && number <= most) return number;
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new RangeError(`is "${value}"; write a whole number ${range}`);
  };

/** Bytes: `1073741823`, `20MB`, `1GiB`; a unit counts in powers of 1024, as in Postgres. */
export const byteCount =
  (least: number, most: number = Number.MAX_SAFE_INTEGER) =>
  (value: string): number => {
    const match = /^(\d{1,16})\s*([kmgt]?)(i?b)?$/i.exec(value);
    const unit = UNITS[match?.[2]?.toLowerCase() ?? ""] ?? 1;
    const bytes = match === null ? Number.NaN : Number(match[1]) * unit;
    if (bytes >= least && bytes <= most) return bytes;
    const range = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `from ${least} to ${most}`;
    throw new RangeError(`is "${value}"; write bytes as 1048576 or 1MB, ${range}`);
  };

/** Milliseconds from `500ms`, `10s`, `1m30s`, `2h`, `7d`; a bare number counts seconds. */
export const duration =
  (leastMs: number, mostMs: number = Number.MAX_SAFE_INTEGER) =>
  (value: string): number => {
    const ms = durationMs(value);
    if (ms === null) throw new RangeError(`is "${value}"; write a duration as 500ms, 10s, 1m30s, 2h or 7d`);
    if (ms >= leastMs && ms <= mostMs) return ms;
    const most = mostMs === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${printDuration(mostMs)}`;
    throw new RangeError(`is "${value}"; at least ${printDuration(leastMs)}${most}`);
  };

/** One of `choices`, in any case. */
export const choice =
  <const T extends string>(choices: readonly T[]) =>
  (value: string): T => {
    const found = choices.find((candidate) => candidate.toLowerCase() === value.toLowerCase());
    if (found !== undefined) return found;
    throw new RangeError(`is "${value}"; one of ${choices.join(", ")}`);
  };

/** Comma or white space between the items; none is empty. */
export const list = (value: string): readonly string[] => value.split(/[\s,]+/).filter((item) => item !== "");

/** Text that must match, or `wanted` is said. */
export const pattern =
  (expression: RegExp, wanted: string) =>
  (value: string): string => {
    if (expression.test(value)) return value;
    throw new RangeError(`is "${value}"; ${wanted}`);
  };

/** JSON of any shape, kept as text. */
export function json(value: string): string {
  try {
    JSON.parse(value);
    return value;
  } catch {
    throw new RangeError("is no JSON");
  }
}

/** For settings that are accepted and change nothing here. */
export function printDuration(ms: number): string {
  if (ms === 0) return "0s";
  for (const [unit, size] of [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ] as const) {
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function durationMs(value: string): number | null {
  if (/^\d{1,12}$/.test(value)) return Number(value) * 1_000;
  if (!/^(\d{1,12}(\.\d{1,6})?(ms|s|m|h|d))+$/.test(value)) return null;
  let ms = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    ms += Number(amount) * DURATION_UNITS[unit as keyof typeof DURATION_UNITS];
  }
  return Math.round(ms);
}

const UNITS: Readonly<Record<string, number>> = { k: 1 << 10, m: 1 << 20, g: 1 << 30, t: 2 ** 40 };
const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `*` alone, or names and addresses; null: everywhere. */
export const addresses = (value: string): readonly string[] | null => {
  const names = list(value);
  if (names.includes("*")) return null;
  const odd = names.find((name) => !/^[A-Za-z0-9_.:-]+$/.test(name));
  if (odd !== undefined)
    throw new RangeError(`names "${odd}"; write addresses or names, or * for everywhere`);
  return names;
};
