// The arguments of `wal-g delete`: modifiers in any case, numbers, names and times.

import type { Clock } from "../../base/clock.ts";
import { parseInstant } from "../../backup/go-json.ts";
import type { BackupPoint, DeleteModifier } from "../../backup/delete-target.ts";
import type { FlagValues } from "./command.ts";
import { UsageError } from "./flags.ts";

/** `[FULL|FIND_FULL] N`. */
export function retainArguments(args: readonly string[]): { modifier: DeleteModifier; count: number } {
  const { modifier, rest } = modified(args, ["FULL", "FIND_FULL"], 1);
  const text = rest[0]!;
  if (!/^[+-]?\d{1,9}$/.test(text)) {
    throw new UsageError(
      `expected to get a number as retantion count, but got: '${text}': strconv.Atoi: parsing "${text}": invalid syntax`,
    );
  }
  if (Number(text) < 1)
    throw new UsageError("cannot retain less than one backup. Check out delete everything");
  return { modifier, count: Number(text) };
}

/** Splits an optional modifier, in any case, from exactly `least` or, with 0, at most one argument. */
export function modified(
  args: readonly string[],
  words: readonly Exclude<DeleteModifier, null>[],
  least: 0 | 1,
): { modifier: DeleteModifier; rest: readonly string[] } {
  const word = words.find((known) => known === args[0]?.toUpperCase()) ?? null;
  const rest = word === null ? args : args.slice(1);
  if (rest.length < least) throw new UsageError(`requires at least 1 arg(s), only received ${rest.length}`);
  if (rest.length > 1) {
    throw new UsageError(`expected to get one of modifiers: [${words.join(" ")}] as first argument`);
  }
  return { modifier: word, rest };
}

/** At most one word out of `words`, in any case. */
export function modifierOnly<Word extends string>(
  args: readonly string[],
  words: readonly Word[],
): Word | null {
  if (args.length === 0) return null;
  const word = words.find((known) => known === args[0]!.toUpperCase());
  if (word === undefined || args.length > 1) {
    throw new UsageError(`expected to get one of modifiers: [${words.join(" ")}] as first argument`);
  }
  return word;
}

/** `[FIND_FULL] NAME|TIME`; a time in the future is refused. */
export function checkBefore(args: readonly string[], _flags: FlagValues, clock: Clock): void {
  const point = pointOf(modified(args, ["FIND_FULL"], 1).rest[0]!, "the argument");
  if (point.kind === "time" && point.ns > BigInt(clock.now()) * 1_000_000n) {
    throw new UsageError("cannot delete before future date");
  }
}

/** A name or user data, not both. */
export function checkTarget(args: readonly string[], flags: FlagValues): void {
  const { rest } = modified(args, ["FIND_FULL"], 0);
  if ((rest.length === 1) === flags.has("target-user-data")) {
    throw new UsageError("incorrect arguments. Specify target backup name OR target userdata, not both");
  }
}

/** A name or a time. What looks like a time but has no zone is refused: it would silently be taken for a name. */
export function pointOf(text: string, what: string): BackupPoint {
  const ns = parseInstant(text);
  if (ns !== null) return { kind: "time", ns };
  if (/^\d{4}-\d\d/.test(text)) {
    throw new UsageError(
      `${what} "${text}" is not a time of RFC 3339 with its zone, such as 2026-01-31T12:00:00Z`,
    );
  }
  return { kind: "name", name: text };
}
