// Members out of a tar, whoever wrote it: USTAR, PAX, GNU, with or without a trailer. The door to tar-stream.

import { type Extract, type Header, extract } from "tar-stream";
import { TarError, type TarMemberHead } from "./tar-sink.ts";

export interface TarEntry extends TarMemberHead {
  /** The member's data; what is not taken is skipped. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Yields the members in order; the input is read to its end. A tar that ends behind a member's data is whole, one that
 * ends within is not. Throws TarError on anything that is no tar; the input's own errors pass unchanged.
 */
export async function* readTar(input: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const parser = extract();
  let inputError: InputError | null = null;
  const feeding = feed(input, parser).catch((error: unknown) => {
    inputError = { error };
    parser.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const entry of parser) {
      const { header } = entry;
      // tar-stream never ends the data of such a member.
      if (header.type === "directory" && header.size !== 0)
        throw new TarError(`the directory "${header.name}" has ${header.size} bytes of data`);
      yield { ...describe(header), body: bodyOf(entry as AsyncIterable<Uint8Array>, () => inputError) };
      entry.resume();
    }
  } catch (error) {
    throw thrownBy(inputError, error);
  } finally {
    parser.destroy();
    await feeding;
  }
  if (inputError !== null) throw thrownBy(inputError, null);
}

/** A member's data. Where the tar ends within it, this is the first to hear of it. */
async function* bodyOf(
  entry: AsyncIterable<Uint8Array>,
  inputError: () => InputError | null,
): AsyncGenerator<Uint8Array> {
  try {
    yield* entry;
  } catch (error) {
    throw thrownBy(inputError(), error);
  }
}

/** tar-stream's own errors are about the tar; those of the consumer never come this way. */
function thrownBy(inputError: InputError | null, error: unknown): unknown {
  if (inputError !== null) return inputError.error;
  return new TarError(error instanceof Error ? error.message : String(error));
}

type Parser = Extract;
type InputError = { readonly error: unknown };

async function feed(input: AsyncIterable<Uint8Array>, parser: Parser): Promise<void> {
  for await (const piece of input) {
    if (parser.destroyed) return;
    if (piece.byteLength === 0) continue;
    if (!parser.write(piece)) await drained(parser);
  }
  if (parser.destroyed) return;
  parser.end(null);
  await closed(parser);
}

const drained = (parser: Parser): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      parser.off("drain", done).off("close", done);
      resolve();
    };
    parser.on("drain", done).on("close", done);
  });

const closed = (parser: Parser): Promise<void> =>
  new Promise((resolve) => {
    if (parser.destroyed) resolve();
    else parser.once("close", () => resolve());
  });

function describe(header: Header): Omit<TarEntry, "body"> {
  const kind = KINDS[header.type] ?? "other";
  return {
    name: header.name,
    kind,
    mode: header.mode,
    uid: header.uid,
    gid: header.gid,
    bytes: kind === "file" ? header.size : 0,
    mtimeSeconds: Math.floor(header.mtime.getTime() / 1000),
  };
}

const KINDS: Partial<Record<string, TarEntry["kind"]>> = {
  file: "file",
  "contiguous-file": "file",
  directory: "directory",
  symlink: "symlink",
};
