// What can be wrong with stored bytes: damaged content, or a key that does not fit.

import { AppError } from "../base/errors.ts";

/** Stored bytes are not what a writer made: cut short, followed by garbage, wrong checksum, unknown container. */
export class CodecError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, {
      code: "CODEC_DAMAGED",
      hint: "compare with another copy of the object; `holdfast verify --content` names every damaged one",
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** The configured key cannot read or write this, or the encryption settings are unusable. Messages never hold key material. */
export class CipherError extends AppError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, {
      code: "CIPHER_KEY",
      hint: options.hint ?? "check that the encryption settings are those that the archive was written with",
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
  }
}
