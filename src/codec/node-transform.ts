// Runs a node:zlib transform over an AsyncIterable: errors of the input stay what they are, errors of the codec become CodecError.

import { type Transform, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CodecError } from "./codec-error.ts";

/** A zlib stream; `bytesWritten` counts what the engine took, so that bytes behind the end can be noticed. */
type ZlibTransform = Transform & { readonly bytesWritten: number };

/** Pipes `input` through `transform`. Backpressure holds the input; leaving the loop early ends it. */
export async function* throughTransform(
  input: AsyncIterable<Uint8Array>,
  transform: ZlibTransform,
  method: string,
): AsyncGenerator<Uint8Array> {
  let inputError: { readonly error: unknown } | null = null;
  let fedBytes = 0;
  async function* guarded(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of input) {
        fedBytes += piece.byteLength;
        if (piece.byteLength > 0) yield piece;
      }
    } catch (error) {
      inputError = { error };
      throw error;
    }
  }
  const piped = pipeline(Readable.from(guarded(), { objectMode: true, highWaterMark: 1 }), transform).catch(
    (error: unknown) => error,
  );
  try {
    for await (const piece of transform) yield piece as Uint8Array;
  } catch (error) {
    const failed = inputError as { readonly error: unknown } | null;
    if (failed !== null) throw failed.error;
    throw new CodecError(`${method}: the stream cannot be read after ${fedBytes} bytes`, error);
  } finally {
    transform.destroy();
    await piped;
  }
  if (transform.bytesWritten !== fedBytes) {
    throw new CodecError(
      `${method}: ${fedBytes - transform.bytesWritten} bytes follow the end of the stream`,
    );
  }
}
