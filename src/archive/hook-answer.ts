// What archive_command and restore_command are told: an exit status and the sentence that explains it.

/**
 * 0: done. 1: not now, or not there (Postgres keeps the file and asks again; in recovery: the end of the archive).
 * 255: in doubt, only for restore_command: Postgres must stop rather than go on without the file (postgres-facts.md section 6).
 */
export interface HookAnswer {
  readonly exit: 0 | 1 | 255;
  /** For the log of Postgres and of the supervisor; one line, no secret. */
  readonly sentence: string;
}

/** What the supervisor's socket passes on: `archive NAME PATH` and `restore NAME PATH`. */
export interface HookRequest {
  /** `%f`: a segment, `.history`, `.partial` or `.backup` name. */
  readonly name: string;
  /** `%p`: absolute, or relative to the data directory. */
  readonly path: string;
}

export const served = (sentence: string): HookAnswer => ({ exit: 0, sentence });
export const notNow = (sentence: string): HookAnswer => ({ exit: 1, sentence });
export const inDoubt = (sentence: string): HookAnswer => ({ exit: 255, sentence });
