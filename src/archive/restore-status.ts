// What restore_command is given, and what it tells of itself.

import type { Backoff } from "../base/retry.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import type { Situation } from "./answer.ts";
import type { ArchiveSource } from "./archive-source.ts";

export interface RestoreCommandOptions {
  readonly source: ArchiveSource;
  /** `latest`: T*'s path, followed as it grows. A path: that one, whatever the log says later. */
  readonly target: "latest" | TimelinePath;
  readonly situation: Situation;
  readonly dataDirectory: string;
  /** Folder for the look-ahead, outside pg_wal, on the same file system. */
  readonly spool: string;
  /** Ends what is under way in the background. */
  readonly signal: AbortSignal;
  /** How long answers that prove nothing are repeated before the doubt is told; by default about a minute. */
  readonly patience?: Backoff;
}

/** Why a file was not served although the archive may have it. */
interface Doubt {
  readonly name: string;
  readonly because: string;
  readonly atMs: number;
  /** The archive's bytes are wrong: asking again gives the same answer, until somebody mends them. */
  readonly isDamage: boolean;
}

/** For progress, health and metrics. */
export interface RestoreCommandStatus {
  readonly situation: Situation;
  readonly segmentsServed: number;
  readonly fromSpool: number;
  readonly lastServed: string | null;
  /** The complete segment that was served last, and how often in a row. */
  readonly repeats: { readonly name: string; readonly times: number } | null;
  /** The last name that was answered with 1, and why. */
  readonly lastAbsent: { readonly name: string; readonly because: string } | null;
  /** The last doubt, and what it was about; cleared by the next good answer. */
  readonly doubt: Doubt | null;
  readonly alarms: readonly string[];
  readonly prefetchDepth: number;
}
