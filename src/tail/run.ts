// The accepted run of slots, rules L2 to L8: a pure fold over headers. Readers, takers and the owner use this one function.

import { unreachable } from "../base/errors.ts";
import { type Lsn, formatLsn, minLsn } from "../wal/lsn.ts";
import { type TimelineId, segmentFloor } from "../wal/segment-name.ts";
import { parseHistory } from "../wal/timeline-history.ts";
import {
  type TimelinePath,
  extendPath,
  isOnPath,
  pathOfHistory,
  pathUpTo,
  rootPath,
  samePath,
} from "../wal/timeline-path.ts";
import { ForeignLogError, LogDamagedError } from "./errors.ts";
import {
  type BaseHeader,
  type DataHeader,
  type FencePurpose,
  type GapHeader,
  type HistoryHeader,
  NO_HASH,
  NO_PROMOTION,
  type SlotHeader,
  WINDOW,
} from "./slot.ts";

/** What cluster.json says. */
export interface ClusterIdentity {
  readonly systemId: bigint;
  readonly segmentBytes: number;
}

/** Where the winner's history stands (L7). */
export interface LogTip {
  /** T*. */
  readonly timeline: TimelineId;
  readonly promotion: string;
  /** T*'s path; the protocol's "line". */
  readonly path: TimelinePath;
  /** Where the log began (L8). */
  readonly begin: Lsn;
  /** End: behind the last accepted byte; may lie inside a record. */
  readonly end: Lsn;
  /** Everything of T*'s path below it stands complete in wal_005. A lower bound. */
  readonly published: Lsn;
}

export interface LogOwnerMark {
  readonly epoch: number;
  readonly token: string;
  readonly node: string;
  /** null when the fence lies below the base. */
  readonly purpose: FencePurpose | null;
}

/** An accepted `.history` file. */
export interface AcceptedHistory {
  readonly timeline: TimelineId;
  /** Of the file. */
  readonly sha256: string;
  /** The file; null when its slot lies below the base: then it stands in wal_005 with this hash. */
  readonly body: Uint8Array | null;
  /** What its slot says; null below the base. */
  readonly header: HistoryHeader | null;
}

/** What the log says, without the bytes of the WAL. Immutable. */
export interface LogState {
  readonly identity: ClusterIdentity;
  /** First position that nobody took. */
  readonly firstFree: number;
  /** Header hash of the last accepted slot. */
  readonly previous: string;
  /** null in a log that is empty. */
  readonly owner: LogOwnerMark | null;
  /** Accepted fences, oldest first. */
  readonly fences: readonly number[];
  /** null until the first WAL or base was accepted. */
  readonly tip: LogTip | null;
  /** Highest accepted number; 0 while there is no tip. */
  readonly lastTimeline: TimelineId;
  readonly histories: ReadonlyMap<TimelineId, AcceptedHistory>;
}

/** An object of the run with the plain body of a history slot. */
export interface Candidate {
  readonly key: string;
  readonly header: SlotHeader;
  readonly headerHash: string;
  /** Only looked at for history slots. */
  readonly body: Uint8Array | null;
}

/** The state below the base, or of an empty log (L2). */
export function stateAtBase(
  identity: ClusterIdentity,
  base: { readonly key: string; readonly header: BaseHeader } | null,
): LogState {
  if (base === null) {
    return {
      identity,
      firstFree: 0,
      previous: NO_HASH,
      owner: null,
      fences: [],
      tip: null,
      lastTimeline: 0,
      histories: new Map(),
    };
  }
  const { header, key } = base;
  if (header.systemId !== identity.systemId)
    throw new ForeignLogError(`base "${key}"`, header.systemId, identity.systemId);
  if (header.length >= identity.segmentBytes)
    throw new LogDamagedError(`base "${key}" holds a whole segment or more`);
  return {
    identity,
    firstFree: header.seq,
    previous: header.previous,
    owner: { epoch: header.epoch, token: header.token, node: header.node, purpose: null },
    fences: header.fences,
    tip: {
      timeline: header.timeline,
      promotion: header.promotion,
      path: header.line,
      begin: header.begin,
      end: header.end,
      published: header.published,
    },
    lastTimeline: header.lastTimeline,
    histories: new Map(
      header.histories.map(([timeline, sha256]) => [
        timeline,
        { timeline, sha256, body: null, header: null },
      ]),
    ),
  };
}

/** The state with one more slot accepted. Throws LogDamagedError, in a sentence, when the rules forbid it (L4). */
export function acceptSlot(state: LogState, candidate: Candidate): LogState {
  const { header } = candidate;
  if (header.systemId !== state.identity.systemId) {
    throw new ForeignLogError(`object "${candidate.key}"`, header.systemId, state.identity.systemId);
  }
  const fault = faultOfSlot(state, candidate);
  if (fault !== null) throw new LogDamagedError(`object "${candidate.key}" ${fault}`);
  // L3: behind a fence lies the dead zone, at which nobody looks.
  const step = header.kind === "fence" ? WINDOW : 1;
  const next = { ...state, firstFree: state.firstFree + step, previous: candidate.headerHash };
  switch (header.kind) {
    case "fence": {
      const { epoch, token, node, purpose } = header;
      return { ...next, owner: { epoch, token, node, purpose }, fences: [...state.fences, header.seq] };
    }
    case "data":
    case "gap":
      return { ...next, ...acceptRange(state, header) };
    case "history":
      return { ...next, ...acceptHistory(state, header, candidate.body) };
    default:
      return unreachable(header);
  }
}

/** Why the slot cannot follow, or null. L4, L5, L6; the end of a sentence. */
export function faultOfSlot(
  state: LogState,
  { header, body }: Omit<Candidate, "key" | "headerHash">,
): string | null {
  if (header.seq !== state.firstFree) return `says that it is position ${header.seq}, not ${state.firstFree}`;
  if (header.previous !== state.previous) return "does not follow the slot before it";
  if (header.kind === "fence") return null;
  if (state.owner === null || header.epoch !== state.owner.epoch || header.token !== state.owner.token) {
    return "was not written by the owner of the log";
  }
  return header.kind === "history" ? faultOfHistory(state, header, body) : faultOfRange(state, header);
}

function faultOfRange(state: LogState, header: DataHeader | GapHeader): string | null {
  const { tip, identity } = state;
  const size = BigInt(identity.segmentBytes);
  if (header.start / size !== (header.end - 1n) / size) return "spans two segments";
  if (tip === null) {
    return header.timeline === 1 ? null : "begins a log on a timeline other than 1 without a base";
  }
  if (header.timeline !== tip.timeline)
    return `is of timeline ${header.timeline}, the log is on ${tip.timeline}`; // L6
  if (header.start !== tip.end)
    return `starts at ${formatLsn(header.start)}, the log ends at ${formatLsn(tip.end)}`; // L5
  return null;
}

function acceptRange(
  state: LogState,
  header: DataHeader | GapHeader,
): Pick<LogState, "tip" | "lastTimeline"> {
  const { tip, lastTimeline, identity } = state;
  if (tip !== null) return { tip: { ...tip, end: header.end }, lastTimeline };
  // L8: what wal_005 held before the first slot counts as accepted.
  return {
    tip: {
      timeline: header.timeline,
      promotion: NO_PROMOTION,
      path: rootPath(header.timeline),
      begin: header.start,
      end: header.end,
      published: segmentFloor(header.start, identity.segmentBytes),
    },
    lastTimeline: header.timeline,
  };
}

function faultOfHistory(state: LogState, header: HistoryHeader, body: Uint8Array | null): string | null {
  const { tip, lastTimeline, histories } = state;
  if (tip === null) return "is a history in a log that holds no WAL";
  if (body === null) return "is a history without a body";
  if (header.timeline <= lastTimeline)
    return `brings timeline ${header.timeline}, ${lastTimeline} was accepted`;
  const path = pathOfBody(header, body);
  if (typeof path === "string") return path;
  if (header.parent === tip.timeline || isOnPath(tip.path, header.parent)) {
    const parentPath = pathUpTo(tip.path, header.parent)!;
    if (!samePath(path, extendPath(parentPath, header.timeline, header.fork)))
      return "has a path that is not its parent's";
    if (header.parent !== tip.timeline && !header.cut)
      return `leaves timeline ${header.parent}, the log is on ${tip.timeline}`;
    return header.parent === tip.timeline && header.fork > tip.end
      ? `forks at ${formatLsn(header.fork)}, the log ends at ${formatLsn(tip.end)}`
      : null;
  }
  if (!header.cut) return `leaves timeline ${header.parent}, the log is on ${tip.timeline}`;
  return histories.has(header.parent)
    ? null
    : `leaves timeline ${header.parent}, which the log never accepted`;
}

function pathOfBody(header: HistoryHeader, body: Uint8Array): TimelinePath | string {
  try {
    const history = parseHistory(header.timeline, Buffer.from(body).toString("utf8"));
    const last = history.switches.at(-1);
    if (last === undefined || last.parent !== header.parent || last.at !== header.fork) {
      return "has a header that does not agree with its .history file";
    }
    return pathOfHistory(history);
  } catch {
    return "holds no .history file";
  }
}

function acceptHistory(
  state: LogState,
  header: HistoryHeader,
  body: Uint8Array | null,
): Pick<LogState, "tip" | "lastTimeline" | "histories"> {
  const path = pathOfBody(header, body!) as TimelinePath; // faultOfHistory has seen both
  const { identity, tip, histories } = state;
  const { timeline, promotion, fork, sha256 } = header;
  // P2: the child's copy of the fork's segment is still owed, whatever the parent had published.
  const published = minLsn(tip!.published, segmentFloor(fork, identity.segmentBytes));
  return {
    tip: { timeline, promotion, path, begin: tip!.begin, end: fork, published },
    lastTimeline: timeline,
    histories: new Map(histories).set(timeline, { timeline, sha256, body, header }),
  };
}
