// Splits a huge JSON object into the members of its members without holding it: files_metadata.json may exceed a gigabyte.

import { unreachable } from "../base/errors.ts";
import { JSON_NESTING_MOST } from "../base/lossless-json.ts";
import { BackupFormatError } from "./format-error.ts";

/** One member of an object that is itself a member of the outermost object. */
export interface JsonEntry {
  /** Key in the outermost object, e.g. `Files`. */
  readonly section: string;
  /** Key within the section; null when the section's value is not an object. */
  readonly key: string | null;
  /** JSON text of the value. */
  readonly text: string;
}

/**
 * Yields the entries in the order of the text. Throws BackupFormatError on text that is not one JSON object,
 * and on an entry over `entryLimitBytes`. The values' own syntax is left to whoever parses `text`.
 */
export async function* splitJsonEntries(
  chunks: AsyncIterable<Uint8Array>,
  object: string,
  entryLimitBytes = ENTRY_LIMIT_BYTES,
): AsyncGenerator<JsonEntry> {
  const splitter = new Splitter(object, entryLimitBytes);
  for await (const chunk of chunks)
    yield* splitter.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  splitter.finish();
}

/** What the next byte belongs to. Depth 1 is the outermost object, depth 2 a section. */
type Place = "before" | "key" | "colon" | "value" | "comma" | "after";

class Splitter {
  readonly #object: string;
  readonly #limit: number;
  #place: Place = "before";
  #depth = 0;
  #section = "";
  #key = "";
  /** Between members: the first key or the end, a comma or the end, or a key. */
  #expects: "first" | "more" | "key" = "first";
  /** Bytes of the token at hand that earlier chunks held. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #inString = false;
  #escaped = false;
  /** Brackets open inside the value that is being skipped over. */
  #nesting = 0;
  #started = false;

  constructor(object: string, limit: number) {
    this.#object = object;
    this.#limit = limit;
  }

  *push(chunk: Buffer): Generator<JsonEntry> {
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      const byte = chunk[at]!;
      if (this.#place === "key" || (this.#place === "value" && this.#started)) {
        const end = this.#tokenEnd(chunk, at);
        if (end < 0) break;
        const token = this.#take(chunk.subarray(from, end));
        at = end;
        yield* this.#finishToken(token);
        continue;
      }
      if (isSpace(byte)) {
        at += 1;
        continue;
      }
      from = at;
      at = this.#step(byte, at);
    }
    if (this.#started) this.#keep(chunk.subarray(from));
  }

  finish(): void {
    if (this.#place !== "after") this.#refuse("ends before its last bracket");
  }

  /** Handles a byte between tokens; returns where to go on. A token's first byte is left to the token scanner. */
  #step(byte: number, at: number): number {
    switch (this.#place) {
      case "before":
        if (byte !== OPEN_BRACE) this.#refuse("is not a JSON object");
        this.#enter(1);
        return at + 1;
      case "comma":
        if (byte === CLOSE_BRACE && this.#expects !== "key") return this.#leave(at);
        if (byte === QUOTE && this.#expects !== "more") return this.#begin("key", at);
        if (byte !== COMMA || this.#expects !== "more")
          this.#refuse(`has an unexpected byte ${byte} between members`);
        this.#expects = "key";
        return at + 1;
      case "colon":
        if (byte !== COLON) this.#refuse("has a key without a value");
        this.#place = "value";
        return at + 1;
      case "value":
        if (byte === OPEN_BRACE && this.#depth === 1) {
          this.#enter(2);
          return at + 1;
        }
        return this.#begin("value", at);
      case "key":
      case "after":
        return this.#refuse("has bytes behind its end");
      default:
        return unreachable(this.#place);
    }
  }

  #enter(depth: number): void {
    this.#depth = depth;
    this.#place = "comma";
    this.#expects = "first";
  }

  #leave(at: number): number {
    this.#depth -= 1;
    this.#place = this.#depth === 0 ? "after" : "comma";
    this.#expects = "more";
    return at + 1;
  }

  #begin(place: "key" | "value", at: number): number {
    this.#place = place;
    this.#started = true;
    this.#inString = false;
    this.#escaped = false;
    this.#nesting = 0;
    return at;
  }

  /** Index behind the token that goes on at `at`, or -1 when the chunk ends before it does. */
  #tokenEnd(chunk: Buffer, at: number): number {
    for (let index = at; index < chunk.length; index += 1) {
      const byte = chunk[index]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          this.#inString = false;
          if (this.#nesting === 0) return index + 1;
        }
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        this.#nesting += 1;
        if (this.#nesting > JSON_NESTING_MOST)
          this.#refuse(`nests values deeper than ${JSON_NESTING_MOST} levels`);
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        if (this.#nesting === 0) return index;
        this.#nesting -= 1;
        if (this.#nesting === 0) return index + 1;
      } else if (this.#nesting === 0 && (byte === COMMA || isSpace(byte))) return index;
    }
    return -1;
  }

  *#finishToken(token: Buffer): Generator<JsonEntry> {
    this.#started = false;
    if (this.#place === "key") {
      const key = this.#parseKey(token);
      if (this.#depth === 1) this.#section = key;
      else this.#key = key;
      this.#place = "colon";
      return;
    }
    if (token.length === 0)
      this.#refuse(`has no value for "${this.#depth === 1 ? this.#section : this.#key}"`);
    this.#place = "comma";
    this.#expects = "more";
    yield { section: this.#section, key: this.#depth === 1 ? null : this.#key, text: token.toString("utf8") };
  }

  #parseKey(token: Buffer): string {
    try {
      return JSON.parse(token.toString("utf8")) as string;
    } catch (error) {
      throw new BackupFormatError(this.#object, "has a malformed key", { cause: error });
    }
  }

  #keep(rest: Buffer): void {
    this.#heldBytes += rest.length;
    if (this.#heldBytes > this.#limit) this.#refuse(`has an entry of more than ${this.#limit} bytes`);
    this.#held.push(Buffer.from(rest));
  }

  #take(last: Buffer): Buffer {
    if (this.#heldBytes + last.length > this.#limit)
      this.#refuse(`has an entry of more than ${this.#limit} bytes`);
    const token = this.#held.length === 0 ? last : Buffer.concat([...this.#held, last]);
    this.#held = [];
    this.#heldBytes = 0;
    return token;
  }

  #refuse(problem: string): never {
    throw new BackupFormatError(this.#object, problem);
  }
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** The list of one tar's members may be long; past this the object is not believed. */
const ENTRY_LIMIT_BYTES = 256 * 1024 * 1024;
