// Errors with a stable code, the values in the message, and a hint on what to check next.

/** Exit statuses of the command line. 74 is WAL-G's "the archive has no such file"; 255 stops recovery in Postgres. */
export const EXIT = { ok: 0, failure: 1, usage: 2, absent: 74, doubt: 255 } as const;

/** An error that is expected to be seen by an operator. */
export class AppError extends Error {
  /** Stable, upper-case, used as metric label and in docs/errors.md. */
  readonly code: string;
  /** What to check next; starts with a verb. */
  readonly hint: string;
  /** Exit status of a command that ends with this error. */
  readonly exitStatus: number;

  constructor(message: string, options: AppErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.hint = options.hint;
    this.exitStatus = options.exitStatus ?? EXIT.failure;
  }
}

export interface AppErrorOptions {
  readonly code: string;
  readonly hint: string;
  readonly exitStatus?: number;
  readonly cause?: unknown;
}

/** A broken invariant: nothing catches it but the top, and the process ends. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Throws InvariantError unless `condition` holds. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** The end of a switch over a union. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}

/** The message of whatever was thrown, with the messages of its causes. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.message === "" ? thrown.name : thrown.message;
  return thrown.cause === undefined ? own : `${own}: ${messageOf(thrown.cause)}`;
}

/** Whatever was thrown, as an Error. */
export const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(messageOf(thrown));
