// Gathers what the junction asks (T6): what the log says, what this volume says. The decision itself is tail/junction.ts.

import { readControlFile } from "../postgres/data-directory.ts";
import {
  bytesToCompare,
  decideJunction,
  type Junction,
  type LocalFacts,
  type MemberFacts,
} from "../tail/junction.ts";
import type { LogOwner } from "../tail/owner.ts";
import { type Lsn, lsnOf } from "../wal/lsn.ts";
import { pathUpTo, type TimelinePath } from "../wal/timeline-path.ts";
import { LocalWal, localPath, pgWal } from "./local-wal.ts";

export interface JoinOptions {
  /** Of the claim that this process holds; not begun. */
  readonly owner: LogOwner;
  /** Of a server that is not running. */
  readonly dataDirectory: string;
  /** The mark beside PGDATA (G4); 32 zeros where no promotion of ours made the timeline. */
  readonly promotion: string;
  /** Of the timeline it left by that promotion; the same as `promotion` when there was none. */
  readonly parentPromotion: string;
  /** Reachable members. */
  readonly members: readonly MemberFacts[];
}

export interface Joined {
  readonly junction: Junction;
  readonly path: TimelinePath;
  /** Where the local records end. */
  readonly walkedTo: Lsn;
}

/** Compares this volume with the log. Before Postgres starts. Throws StoreError and the log's errors. */
export async function joinLog({ owner, dataDirectory, members, ...ids }: JoinOptions): Promise<Joined> {
  const control = await readControlFile(dataDirectory);
  const path = await localPath(dataDirectory);
  const local = new LocalWal(pgWal(dataDirectory), path, control.segmentBytes);
  const walkedTo = await local.walkFrom(control.redo, control.systemId);
  const log = owner.view;
  const recordEnd = log.tip === null ? null : (await owner.recordEndOfLog()).at;
  const facts = { log, recordEnd };
  const range = bytesToCompare(facts, { path });
  const bytes = range === null ? "equal" : await compare(owner, local, path, range);
  const localFacts: LocalFacts = { path, walkedTo, bytes, ...ids };
  return { junction: decideJunction(facts, localFacts, members), path, walkedTo };
}

/** Local bytes against accepted ones, a segment at a time. */
async function compare(
  owner: LogOwner,
  local: LocalWal,
  path: TimelinePath,
  { from, to }: { readonly from: Lsn; readonly to: Lsn },
): Promise<LocalFacts["bytes"]> {
  const accepted = owner.view.tip!.path;
  const common = pathUpTo(accepted, lastCommon(accepted, path));
  if (common === null) return "different";
  let at = from;
  for await (const piece of local.read(from, to)) {
    const end = lsnOf(at + BigInt(piece.byteLength));
    const ours = await owner.read(common, at, end);
    if (Buffer.compare(ours, piece) !== 0) return "different";
    at = end;
  }
  return at < to ? "missing" : "equal";
}

/** The newest timeline on both paths. */
function lastCommon(a: TimelinePath, b: TimelinePath): number {
  const shared = a.filter(({ timeline }) => b.some((step) => step.timeline === timeline));
  return shared.at(-1)?.timeline ?? 0;
}
