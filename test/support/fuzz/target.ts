// What is fuzzed: a parser, what it is fed with, and the errors it may answer with.

import type { Random } from "../random.ts";
import { type Mutator } from "./mutate.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Sound inputs, real where there are any. Each at most some 100 KiB, so that many trials fit a second. */
  readonly corpus: () => Promise<readonly Uint8Array[]>;
  readonly mutate: Mutator;
  /** Makes checksums right again, so that what lies behind them is reached; called for most trials. */
  readonly mend?: (bytes: Buffer) => void;
  /** Gives the input to the parser and looks at what comes out. */
  readonly feed: (input: Buffer, random: Random) => Promise<void> | void;
  /** What the parser says that it throws. */
  readonly declared: readonly ErrorClass[];
}

export type ErrorClass = abstract new (...args: never[]) => Error;

/** More output than this of one input is not asked for. */
export const OUTPUT_BYTES_MOST = 32 << 20;

/** The input as a stream of pieces of random sizes. */
export async function* piecesOf(bytes: Uint8Array, random: Random): AsyncGenerator<Uint8Array> {
  const size = [1 << 16, 1 << 13, 100, 7][Math.floor(random() * 4)]!;
  // Small pieces of a long input cost time and find nothing new.
  const most = Math.max(size, Math.ceil(bytes.byteLength / 500));
  for (let at = 0; at < bytes.byteLength; at += most) yield bytes.subarray(at, at + most);
}

/** Reads a stream to its end, or until it has given enough. */
export async function drain(stream: AsyncIterable<Uint8Array>): Promise<number> {
  let total = 0;
  for await (const piece of stream) {
    total += piece.byteLength;
    if (total > OUTPUT_BYTES_MOST) break;
  }
  return total;
}
