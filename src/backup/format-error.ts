// What is wrong with a backup, its chain, or one of its objects.

import { AppError } from "../base/errors.ts";

/** An object of a backup does not hold what it must: not parseable, contradicting, or damaged. */
export class BackupFormatError extends AppError {
  /** Key or name of the object that is at fault. */
  readonly object: string;
  /** What is wrong with it. */
  readonly fault: string;

  constructor(object: string, problem: string, options: { hint?: string; cause?: unknown } = {}) {
    super(`"${object}": ${problem}`, {
      code: "BACKUP_DAMAGED",
      hint:
        options.hint ?? "restore from another backup, and look at this one with `holdfast verify --content`",
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.object = object;
    this.fault = problem;
  }
}

/** The backup that was asked for, or one that it builds on, is not there. */
export class BackupMissingError extends AppError {
  constructor(message: string, hint = "list what is there with `holdfast backup-list`") {
    super(message, { code: "BACKUP_MISSING", hint });
  }
}
