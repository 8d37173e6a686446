// A delta and the deletion of its base may run at the same time: whoever writes looks again afterwards, on both sides.

import { AppError } from "../base/errors.ts";
import type { BackupReader } from "./catalog.ts";
import { readSentinel } from "./catalog.ts";
import { BackupMissingError } from "./format-error.ts";
import { readChain } from "./restore-chain.ts";

/** Throws BaseGoneError unless the base of delta `name` and everything under it is still there. */
export async function checkBases(
  name: string,
  base: string,
  store: BackupReader,
  signal: AbortSignal,
): Promise<void> {
  await readChain(base, async (backup) => {
    try {
      return await readSentinel(store, backup, signal);
    } catch (error) {
      if (error instanceof BackupMissingError) throw new BaseGoneError(name, backup);
      throw error;
    }
  });
}

/** What the delta is built on was deleted while it was taken. */
export class BaseGoneError extends AppError {
  constructor(name: string, base: string) {
    super(`backup "${name}" was given up: "${base}", which it is built on, was deleted while it was taken`, {
      code: "BACKUP_BASE_GONE",
      hint: "take the backup again; it will be a full one or a delta of another base",
    });
  }
}
