// Members out of a tar as an iteration, for readers that look at one after the other. The same parser as a restore's.

import { streamOf } from "../base/bytes.ts";
import { type TarMemberHead, TarSink } from "./tar-sink.ts";

export interface TarEntry extends TarMemberHead {
  /** The member's data; what is not taken is skipped. Empty for all but files. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Yields the members in order; the input is read to its end. A tar that ends behind a member's data is whole, one that
 * ends within is not. Throws TarError on anything that is no tar; the input's own errors pass unchanged.
 */
export async function* readTar(input: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const events = new TarEvents(input);
  try {
    for (let event = await events.next(); event !== null; event = await events.next()) {
      if (event.kind !== "head") continue; // data that nobody took
      const { head } = event;
      yield { ...head, body: head.bytes === 0 ? streamOf() : dataOf(events) };
    }
  } finally {
    await events.close();
  }
}

/** Data up to the member's end. */
async function* dataOf(events: TarEvents): AsyncGenerator<Uint8Array> {
  for (let event = await events.next(); event?.kind === "data"; event = await events.next())
    yield event.bytes;
}

type TarEvent =
  | { readonly kind: "head"; readonly head: TarMemberHead }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "end" };

/** What the parser found, in order; the input is read as far as that takes. */
class TarEvents {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #tar: TarSink;
  #found: TarEvent[] = [];
  #taken = 0;
  #isOver = false;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#pieces = input[Symbol.asyncIterator]();
    this.#tar = new TarSink((head) => {
      this.#found.push({ kind: "head", head });
      if (head.bytes === 0) return null;
      return {
        write: (bytes) => void this.#found.push({ kind: "data", bytes }),
        close: () => void this.#found.push({ kind: "end" }),
      };
    });
  }

  /** null at the end of a whole tar. */
  async next(): Promise<TarEvent | null> {
    while (this.#taken === this.#found.length) {
      if (this.#isOver) return null;
      [this.#found, this.#taken] = [[], 0];
      const piece = await this.#pieces.next();
      if (piece.done !== true) this.#tar.push(piece.value);
      else {
        this.#isOver = true;
        this.#tar.end();
      }
    }
    this.#taken += 1;
    return this.#found[this.#taken - 1]!;
  }

  /** Tells the input that no more is wanted. */
  async close(): Promise<void> {
    if (!this.#isOver) await this.#pieces.return?.();
    this.#isOver = true;
  }
}
