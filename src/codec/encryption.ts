// Encryption containers as WAL-G writes and reads them, behind one type; and which one the settings ask for.

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
