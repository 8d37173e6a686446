// JSON whose integers survive beyond 2^53: system identifiers and LSNs are uint64 in WAL-G's objects.

export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Parses JSON; an integer that a double cannot hold exactly becomes a bigint. Throws SyntaxError. */
export function parseLossless(text: string): Json {
  return JSON.parse(text, ((_key: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    if (typeof value !== "number" || Number.isSafeInteger(value) || source === undefined) return value;
    return /^-?\d+$/.test(source) ? BigInt(source) : value;
  }) as (key: string, value: unknown) => unknown) as Json;
}

/** Prints JSON; bigints become plain integers. Undefined members are left out. */
export function formatLossless(value: unknown, space?: number): string {
  return JSON.stringify(
    value,
    (_key, member: unknown) => (typeof member === "bigint" ? rawJson(member) : member),
    space,
  );
}

const rawJson = (value: bigint): unknown =>
  (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(value.toString());
