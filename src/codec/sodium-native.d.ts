// The few functions of sodium-native that we use; the package brings no types.

declare module "sodium-native" {
  interface SecretStream {
    readonly crypto_secretstream_xchacha20poly1305_ABYTES: number;
    readonly crypto_secretstream_xchacha20poly1305_HEADERBYTES: number;
    readonly crypto_secretstream_xchacha20poly1305_KEYBYTES: number;
    readonly crypto_secretstream_xchacha20poly1305_STATEBYTES: number;
    readonly crypto_secretstream_xchacha20poly1305_TAG_MESSAGE: number;
    readonly crypto_secretstream_xchacha20poly1305_TAG_FINAL: number;
    readonly crypto_secretstream_xchacha20poly1305_init_push: (
      state: Uint8Array,
      header: Uint8Array,
      key: Uint8Array,
    ) => void;
    readonly crypto_secretstream_xchacha20poly1305_init_pull: (
      state: Uint8Array,
      header: Uint8Array,
      key: Uint8Array,
    ) => void;
    readonly crypto_secretstream_xchacha20poly1305_push: (
      state: Uint8Array,
      ciphertext: Uint8Array,
      message: Uint8Array,
      additional: null,
      tag: number,
    ) => number;
    /** Throws when the chunk is not authentic. */
    readonly crypto_secretstream_xchacha20poly1305_pull: (
      state: Uint8Array,
      message: Uint8Array,
      tag: Uint8Array,
      ciphertext: Uint8Array,
      additional: null,
    ) => number;
  }
  const sodium: SecretStream;
  export = sodium;
}
