// OpenPGP messages as WAL-G writes them: binary, one encrypted session key for each key of the ring, no compression, no signature.
// RFC 9580. The door to openpgp.

import type { PartialConfig, PrivateKey, PublicKey } from "openpgp";
import { CipherError, CodecError } from "./codec-error.ts";
import { GuardedInput } from "./guarded-input.ts";
import { rechunk } from "./rechunk.ts";

/** A ring ready for use. Without secret keys it can only write. */
export interface PgpRing {
  readonly publicKeys: readonly PublicKey[];
  readonly secretKeys: readonly PrivateKey[];
}

/** Reads an armoured ring; `\n` written as two characters is a newline, as in WALG_PGP_KEY. Throws CipherError. */
export async function readPgpRing(armored: string, passphrase: string | null): Promise<PgpRing> {
  const { decryptKey, readKeys } = await import("openpgp");
  const text = armored.replaceAll("\\n", "\n").trim();
  const keys = await readKeys({ armoredKeys: text }).catch((error: unknown) => {
    throw badRing("it cannot be read", error);
  });
  const secretKeys: PrivateKey[] = [];
  for (const key of keys) {
    if (!key.isPrivate()) continue;
    if (key.isDecrypted()) {
      secretKeys.push(key);
      continue;
    }
    if (passphrase === null) throw badRing("its secret key needs a passphrase: set WALG_PGP_KEY_PASSPHRASE");
    secretKeys.push(
      await decryptKey({ privateKey: key, passphrase }).catch((error: unknown) => {
        throw badRing("the passphrase does not open its secret key", error);
      }),
    );
  }
  if (keys.length === 0) throw badRing("it holds no key");
  return { publicKeys: keys.map((key) => key.toPublic()), secretKeys };
}

export async function* encryptPgp(
  ring: PgpRing,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { createMessage, encrypt } = await import("openpgp");
  const guarded = new GuardedInput(input);
  try {
    const message = await createMessage({ binary: ReadableStream.from(guarded.pieces()) as never });
    const sealed: unknown = await encrypt({
      message: message as never,
      encryptionKeys: [...ring.publicKeys],
      format: "binary",
      config: await pgpConfig(),
    });
    for await (const piece of sealed as ReadableStream<Uint8Array>) yield piece;
  } catch (error) {
    guarded.rethrow();
    throw new CipherError("OpenPGP: could not encrypt", { cause: error });
  }
}

/**
 * Yields before the whole is authenticated, and throws CodecError at the end if it is not; also when the decoder stands still, which it does on
 * some damage instead of failing.
 */
export async function* decryptPgp(
  ring: PgpRing,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { decrypt, readMessage } = await import("openpgp");
  // Its parser is at its weakest where packets begin and end within small pieces.
  const guarded = new GuardedInput(rechunk(input, PIECE_BYTES));
  let pieces: AsyncIterator<Uint8Array> | null = null;
  try {
    const config = await pgpConfig();
    const message = await unlessStill(
      readMessage({ binaryMessage: ReadableStream.from(guarded.pieces()) as never, config }),
      guarded,
    );
    const opened: { readonly data: unknown } = await unlessStill(
      decrypt({
        message: message as never,
        decryptionKeys: [...ring.secretKeys],
        format: "binary",
        config,
      }),
      guarded,
    );
    pieces = (opened.data as ReadableStream<Uint8Array>)[Symbol.asyncIterator]();
    for (;;) {
      const next = await unlessStill(pieces.next(), guarded);
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    guarded.rethrow();
    if (pieces !== null || error instanceof CodecError)
      throw new CodecError("OpenPGP: the message is damaged or cut", error);
    throw new CipherError("OpenPGP: none of the keys opens this object", { cause: error });
  } finally {
    // Not awaited: a decoder that stands still does not answer to this either.
    pieces?.return?.().catch(() => undefined);
  }
}

/** What `step` gives; rejects when the decoder neither gives it nor asks for input for a long time. */
async function unlessStill<T>(step: Promise<T>, guarded: GuardedInput): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const stillness = new Promise<never>((_resolve, reject) => {
    const look = (fedBytes: number): void => {
      timer = setTimeout(() => {
        if (!guarded.isAsked && guarded.fedBytes === fedBytes)
          reject(new CodecError(`its decoder stands still after ${fedBytes} bytes`));
        else look(guarded.fedBytes);
      }, STILL_MS);
    };
    look(guarded.fedBytes);
  });
  try {
    return await Promise.race([step, stillness]);
  } finally {
    clearTimeout(timer);
  }
}

async function pgpConfig(): Promise<PartialConfig> {
  const { enums } = await import("openpgp");
  return {
    aeadProtect: false,
    preferredCompressionAlgorithm: enums.compression.uncompressed,
    allowUnauthenticatedStream: true, // else whole parts of a backup would be held in memory
  };
}

function badRing(why: string, cause?: unknown): CipherError {
  return new CipherError(`the OpenPGP key is unusable: ${why}`, {
    hint: "check WALG_PGP_KEY, WALG_PGP_KEY_PATH and WALG_PGP_KEY_PASSPHRASE",
    ...(cause === undefined ? {} : { cause }),
  });
}

const PIECE_BYTES = 64 << 10;
/** A sound piece takes milliseconds. */
const STILL_MS = 30_000;
