// An error that the server reported, or that ended a connection to it.

import { AppError } from "../base/errors.ts";

/** SQLSTATE codes that callers branch on. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export const SQLSTATE = {
  cannotConnectNow: "57P03", // starting up, shutting down, or in recovery without hot standby
  objectInUse: "55006", // the slot is held by another walsender
  undefinedObject: "42704", // no such slot
  undefinedFile: "58P01", // the WAL segment has been removed
  duplicateObject: "42710",
  invalidPassword: "28P01",
  noHbaEntry: "28000",
  readOnlyTransaction: "25006",
  dataCorrupted: "XX001",
} as const;

export class ServerError extends AppError {
  /** The five characters the server sent, or null when there was no answer from it. */
  readonly sqlState: string | null;

  constructor(message: string, options: { sqlState?: string | null; hint?: string; cause?: unknown } = {}) {
    super(message, {
      code: "POSTGRES_ERROR",
      hint: options.hint ?? "read the server's log around this moment",
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.sqlState = options.sqlState ?? null;
  }
}

/** Turns what `pg` threw into a ServerError that says what was attempted. */
export function asServerError(thrown: unknown, attempted: string): ServerError {
  if (thrown instanceof ServerError) return thrown;
  const state = typeof thrown === "object" && thrown !== null && "code" in thrown ? thrown.code : null;
  const sqlState = typeof state === "string" && /^[0-9A-Z]{5}$/.test(state) ? state : null;
  return new ServerError(`could not ${attempted}`, { sqlState, cause: thrown });
}
