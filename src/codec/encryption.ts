// Encryption containers as WAL-G writes and reads them, behind one type; and which one the settings ask for.

import { readFile } from "node:fs/promises";
import { unreachable } from "../base/errors.ts";
import type { Secret } from "../base/secret.ts";
import { CipherError } from "./codec-error.ts";
import { type KeyTransform, decryptLibsodium, encryptLibsodium, libsodiumKey } from "./libsodium.ts";
import { decryptPgp, encryptPgp, readPgpRing } from "./openpgp.ts";

/** Encrypts what was compressed. A name never tells of it: a reader needs the writer's settings. */
export interface Cipher {
  readonly name: "none" | "libsodium" | "openpgp";
  /** False when only a public key is known: then `decrypt` throws CipherError. */
  readonly canRead: boolean;
  encrypt(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  /** Throws CipherError when the key does not fit, CodecError when bytes were cut or changed, at the latest at the end. */
  decrypt(input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
}

/** Bytes stay as they are. */
export const noCipher: Cipher = {
  name: "none",
  canRead: true,
  encrypt: (input) => input,
  decrypt: (input) => input,
};

export type CipherSettings =
  | { readonly kind: "none" }
  | { readonly kind: "libsodium"; readonly key: KeySource; readonly transform: KeyTransform }
  | { readonly kind: "openpgp"; readonly key: KeySource; readonly passphrase: Secret | null };

/** The key itself, or the file that holds it. */
export type KeySource =
  | { readonly kind: "value"; readonly value: Secret }
  | { readonly kind: "file"; readonly path: string };

/** What makes a cipher, as plain data that can cross to another thread. It holds the key: never log it. */
export type CipherKey =
  | { readonly kind: "none" }
  | { readonly kind: "libsodium"; readonly key: Uint8Array }
  | { readonly kind: "openpgp"; readonly armored: string; readonly passphrase: string | null };

/** Reads the key and makes the cipher. Throws CipherError when the key is missing or unusable; its message never holds the key. */
export async function makeCipher(settings: CipherSettings): Promise<Cipher> {
  return cipherOf(await readCipherKey(settings));
}

/** Reads the key, from its file if need be. Throws CipherError. */
export async function readCipherKey(settings: CipherSettings): Promise<CipherKey> {
  switch (settings.kind) {
    case "none":
      return settings;
    case "libsodium": {
      const text = await keyText(settings.key);
      return { kind: "libsodium", key: libsodiumKey(text, settings.transform) };
    }
    case "openpgp": {
      const passphrase = settings.passphrase?.reveal() ?? null;
      return { kind: "openpgp", armored: await keyText(settings.key), passphrase };
    }
    default:
      return unreachable(settings);
  }
}

/** The cipher of a key. Throws CipherError when an OpenPGP key is unusable. */
export async function cipherOf(cipherKey: CipherKey): Promise<Cipher> {
  switch (cipherKey.kind) {
    case "none":
      return noCipher;
    case "libsodium": {
      const { key } = cipherKey;
      return {
        name: "libsodium",
        canRead: true,
        encrypt: (input) => encryptLibsodium(key, input),
        decrypt: (input) => decryptLibsodium(key, input),
      };
    }
    case "openpgp": {
      const ring = await readPgpRing(cipherKey.armored, cipherKey.passphrase);
      return {
        name: "openpgp",
        canRead: ring.secretKeys.length > 0,
        encrypt: (input) => encryptPgp(ring, input),
        decrypt: (input) => (ring.secretKeys.length > 0 ? decryptPgp(ring, input) : unreadable()),
      };
    }
    default:
      return unreachable(cipherKey);
  }
}

/** Of a file the space around the key does not count. */
async function keyText(source: KeySource): Promise<string> {
  if (source.kind === "value") return source.value.reveal();
  try {
    return (await readFile(source.path, "utf8")).trim();
  } catch (error) {
    throw new CipherError(`could not read the key in "${source.path}"`, {
      hint: "check the path and the rights of the key file",
      cause: error,
    });
  }
}

// oxlint-disable-next-line require-yield -- it is a stream that only fails
async function* unreadable(): AsyncGenerator<Uint8Array> {
  throw new CipherError("OpenPGP: only a public key is known, so that nothing can be read", {
    hint: "set WALG_PGP_KEY to the secret key to restore",
  });
}
