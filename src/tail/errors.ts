// What can be wrong with the log, or with us, as errors with a code.

import { AppError, EXIT } from "../base/errors.ts";
import { type Lsn, formatLsn } from "../wal/lsn.ts";

/** An object of the log is not what the rules allow (L4), or the log was deleted in part (L2). Never skipped, never guessed. */
export class LogDamagedError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, {
      code: "LOG_DAMAGED",
      hint: "look at the object with `holdfast log show`; nothing was skipped or repaired",
      exitStatus: EXIT.doubt,
      cause,
    });
  }
}

/** The log belongs to another Postgres system. */
export class ForeignLogError extends AppError {
  constructor(what: string, theirs: bigint, ours: bigint) {
    super(`${what} belongs to system ${theirs}, not to ${ours}`, {
      code: "LOG_FOREIGN",
      hint: "check the bucket and the prefix: two clusters must never share one",
      exitStatus: EXIT.doubt,
    });
  }
}

/** A key of the log could not be read with the settings at hand. */
export class LogUnreadableError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, {
      code: "LOG_UNREADABLE",
      hint: "check the encryption key: the objects were written with another one, or with none",
      exitStatus: EXIT.doubt,
      cause,
    });
  }
}

/** Rule T7: another streamer owns the log now; this one is over for good. */
export class FencedError extends AppError {
  constructor(because: string) {
    super(`this node lost the log: ${because}`, {
      code: "LOG_FENCED",
      hint: "nothing to do by hand: the node compares itself with the winner and follows it or seeds itself again",
    });
  }
}

/** The WAL handed over is not what the log accepted, or does not continue it. */
export class WalDivergedError extends AppError {
  constructor(message: string) {
    super(message, {
      code: "WAL_DIVERGED",
      hint: "this node's WAL is not the winner's: it must not lead; let it seed itself again",
    });
  }
}

/** Rule L6: a history slot that the log would not accept. */
export class HistoryRefusedError extends AppError {
  constructor(message: string) {
    super(message, {
      code: "HISTORY_REFUSED",
      hint: "stop Postgres and start the promotion over from the log's end",
    });
  }
}

/** Rule L5: these bytes will never come. */
export class WalGapError extends AppError {
  readonly from: Lsn;
  readonly to: Lsn;

  constructor(timeline: number, from: Lsn, to: Lsn) {
    super(
      `WAL ${formatLsn(from)} to ${formatLsn(to)} of timeline ${timeline} was lost before it reached the store`,
      {
        code: "WAL_GAP",
        hint: "restore from a base backup taken after the gap, or to a point before it",
        exitStatus: EXIT.doubt,
      },
    );
    this.from = from;
    this.to = to;
  }
}

/** The view is older than the store's base: read the log again. */
export class StaleViewError extends AppError {
  constructor(key: string) {
    super(`object "${key}" of the log is gone since the log was read`, {
      code: "LOG_VIEW_STALE",
      hint: "read the log again",
      exitStatus: EXIT.doubt,
    });
  }
}

/** Accepted bytes below the log's base are not in wal_005 as promised. */
export class PublishedMissingError extends AppError {
  constructor(name: string) {
    super(`segment "${name}" was published and is not in wal_005`, {
      code: "PUBLISHED_MISSING",
      hint: "it was deleted by hand or by retention: restore from a newer base backup",
      exitStatus: EXIT.doubt,
    });
  }
}

/** Rule P1: another object stands under this name with other bytes. */
export class PublishConflictError extends AppError {
  constructor(key: string) {
    super(`object "${key}" exists with other bytes than the log accepted`, {
      code: "PUBLISH_CONFLICT",
      hint: "something writes around the log: find the other archive_command; nothing was overwritten",
    });
  }
}

/** The owner cannot do what was asked in its present state. */
export class LogUseError extends AppError {
  constructor(message: string, hint = "this is a defect: please report it with the log") {
    super(message, { code: "LOG_USE", hint });
  }
}
