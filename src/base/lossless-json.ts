// JSON whose integers survive beyond 2^53: system identifiers and LSNs are uint64 in WAL-G's objects.

export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Values nested deeper than this are not believed: printing them again would overflow the stack. */
export const JSON_NESTING_MOST = 1000;

/** Parses JSON; an integer that a double cannot hold exactly becomes a bigint. Throws SyntaxError, past JSON_NESTING_MOST too. */
export function parseLossless(text: string): Json {
  requireShallow(text);
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

/** Counts the brackets outside of strings that are open. Of text that is no JSON it says nothing. */
function requireShallow(text: string): void {
  let nesting = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (inString) {
      if (character === BACKSLASH) at += 1;
      else if (character === QUOTE) inString = false;
    } else if (character === QUOTE) inString = true;
    else if (character === OPEN_BRACE || character === OPEN_BRACKET) nesting += 1;
    else if (character === CLOSE_BRACE || character === CLOSE_BRACKET) nesting -= 1;
    if (nesting > JSON_NESTING_MOST)
      throw new SyntaxError(`values are nested deeper than ${JSON_NESTING_MOST} levels`);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
