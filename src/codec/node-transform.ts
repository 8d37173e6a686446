// Runs a node:zlib transform over an AsyncIterable: errors of the input stay what they are, errors of the codec become CodecError.

import { type Transform, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CodecError } from "./codec-error.ts";
import { GuardedInput } from "./guarded-input.ts";

/** A zlib stream; `bytesWritten` counts what the engine took, so that bytes behind the end can be noticed. */
type ZlibTransform = Transform & { readonly bytesWritten: number };

/** Pipes `input` through `transform`. Backpressure holds the input; leaving the loop early ends it. */
export async function* throughTransform(
  input: AsyncIterable<Uint8Array>,
  transform: ZlibTransform,
  method: string,
): AsyncGenerator<Uint8Array> {
  const guarded = new GuardedInput(input);
  const fed = Readable.from(guarded.pieces(), { objectMode: true, highWaterMark: 1 });
  const piped = pipeline(fed, transform).catch((error: unknown) => error);
  try {
    for await (const piece of transform) yield piece as Uint8Array;
  } catch (error) {
    guarded.rethrow();
    throw new CodecError(`${method}: the stream cannot be read after ${guarded.fedBytes} bytes`, error);
  } finally {
    transform.destroy();
    await piped;
  }
  if (transform.bytesWritten !== guarded.fedBytes) {
    throw new CodecError(
      `${method}: ${guarded.fedBytes - transform.bytesWritten} bytes follow the end of the stream`,
    );
  }
}
