// Flags as WAL-G parses them (pflag's rules): `--name value`, `--name=value`, `-nvalue`, `-ab`, anywhere among the arguments, `--` ends them.

import { AppError, EXIT } from "../../base/errors.ts";

export interface Flag {
  /** Without dashes. */
  readonly name: string;
  readonly short?: string;
  /** `list` may be given more than once, its values split at commas. */
  readonly kind: "bool" | "string" | "int" | "list" | "duration";
  readonly usage: string;
}

export interface ParsedFlags {
  /** By long name; bools hold "true" or "false", lists their values joined by commas. */
  readonly values: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

/** A wrong command line. */
export class UsageError extends AppError {
  constructor(message: string, hint = "see the command's help") {
    super(message, { code: "USAGE", hint, exitStatus: EXIT.usage });
  }
}

/** Splits arguments into flags and the rest. Throws UsageError for flags that are not in `known`. */
export function parseFlags(args: readonly string[], known: readonly Flag[]): ParsedFlags {
  const byName = new Map(known.map((flag) => [flag.name, flag]));
  const byShort = new Map(
    known.flatMap((flag) => (flag.short === undefined ? [] : [[flag.short, flag] as const])),
  );
  const values = new Map<string, string>();
  const rest: string[] = [];
  const set = (flag: Flag, value: string): void => {
    const before = values.get(flag.name);
    const checked = checkValue(flag, value);
    values.set(flag.name, flag.kind === "list" && before !== undefined ? `${before},${checked}` : checked);
  };
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at]!;
    if (arg === "--") {
      rest.push(...args.slice(at + 1));
      break;
    }
    if (arg.startsWith("--")) {
      const [name, value] = cut(arg.slice(2));
      const flag = byName.get(name);
      if (flag === undefined) throw new UsageError(`unknown flag: --${name}`);
      if (value !== null) set(flag, value);
      else if (flag.kind === "bool") set(flag, "true");
      else set(flag, nextValue(args, (at += 1), arg));
    } else if (arg.startsWith("-") && arg !== "-") {
      at = parseShort(arg, args, at, byShort, set);
    } else rest.push(arg);
  }
  return { values, rest };
}

/** One argument of short flags, `-fp` or `-aX`; returns the index of the last argument used. */
function parseShort(
  arg: string,
  args: readonly string[],
  at: number,
  byShort: ReadonlyMap<string, Flag>,
  set: (flag: Flag, value: string) => void,
): number {
  for (let letter = 1; letter < arg.length; letter += 1) {
    const flag = byShort.get(arg[letter]!);
    if (flag === undefined) throw new UsageError(`unknown shorthand flag: '${arg[letter]}' in ${arg}`);
    const following = arg.slice(letter + 1);
    if (flag.kind === "bool" && !following.startsWith("=")) {
      set(flag, "true");
      continue;
    }
    if (following !== "") {
      set(flag, following.replace(/^=/, ""));
      return at;
    }
    set(flag, nextValue(args, at + 1, `'${arg[letter]}' in ${arg}`));
    return at + 1;
  }
  return at;
}

function nextValue(args: readonly string[], at: number, what: string): string {
  const value = args[at];
  if (value === undefined) throw new UsageError(`flag needs an argument: ${what}`);
  return value;
}

function cut(text: string): readonly [string, string | null] {
  const equals = text.indexOf("=");
  return equals < 0 ? [text, null] : [text.slice(0, equals), text.slice(equals + 1)];
}

function checkValue(flag: Flag, value: string): string {
  const wrong = (why: string): UsageError =>
    new UsageError(`invalid argument "${value}" for "${shown(flag)}" flag: ${why}`);
  if (flag.kind === "bool") {
    const parsed = parseBool(value);
    if (parsed === null) throw wrong(`strconv.ParseBool: parsing "${value}": invalid syntax`);
    return String(parsed);
  }
  if (flag.kind === "int" && !/^[+-]?\d+$/.test(value)) throw wrong(`parsing "${value}": invalid syntax`);
  if (flag.kind === "duration" && parseDuration(value) === null) throw wrong(`invalid duration "${value}"`);
  return value;
}

/** Go's ParseBool. */
export function parseBool(text: string): boolean | null {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  return null;
}

/** Milliseconds of Go's `1m30s`, `100ms`, `0`; null for anything else. */
export function parseDuration(text: string): number | null {
  if (text === "0") return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text) return null;
  return parts.reduce((sum, part) => sum + Number(part[1]) * UNIT_MS[part[2]!]!, 0);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000_001,
};

const shown = (flag: Flag): string =>
  flag.short === undefined ? `--${flag.name}` : `-${flag.short}, --${flag.name}`;
