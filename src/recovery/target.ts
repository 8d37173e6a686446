// What a restore is asked for.

import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";

/** Where recovery is to end. Times are milliseconds since 1970 with microseconds as fraction digits in `text`. */
export type RestoreTarget =
  | { readonly kind: "latest" }
  | { readonly kind: "immediate" }
  /** `text` goes to Postgres as it is; `ms` is for comparing. */
  | { readonly kind: "time"; readonly text: string; readonly ms: number; readonly inclusive: boolean }
  | { readonly kind: "lsn"; readonly lsn: Lsn; readonly inclusive: boolean }
  | { readonly kind: "xid"; readonly xid: bigint; readonly inclusive: boolean }
  | { readonly kind: "name"; readonly name: string };

export interface RestoreRequest {
  readonly target: RestoreTarget;
  /** `latest`: T*, the winner's history. A number: that timeline, an abandoned one too. */
  readonly timeline: "latest" | TimelineId;
  /** A backup's name, or `LATEST`: the newest from which the target can be reached. */
  readonly backup: string;
}
