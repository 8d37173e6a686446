// What a node does at boot: facts in, one decision with its sentence out. The whole of design section 5; no clock, file or socket.

import type { TimelineId } from "../wal/segment-name.ts";
import type { FoundingOutcome } from "../tail/founding.ts";
import { unreachable } from "../base/errors.ts";

/** What the volume holds. A mark of completion is the only proof that a data directory is whole (P6). */
export type VolumeFacts =
  | { readonly kind: "empty" }
  /** A mark says that `work` was begun and not finished. */
  | { readonly kind: "unfinished"; readonly work: UnfinishedWork }
  | { readonly kind: "wrong-version"; readonly found: string; readonly expected: string }
  /** Files that are no data directory, or one without the parts that every data directory has. */
  | { readonly kind: "foreign"; readonly because: string }
  /** A whole data directory without our mark: `wal-g backup-fetch` or a copy by hand. */
  | {
      readonly kind: "by-hand";
      readonly systemId: string;
      readonly hasBackupLabel: boolean;
      readonly recoverySignal: boolean;
    }
  | {
      readonly kind: "primary";
      readonly systemId: string;
      readonly timeline: TimelineId;
      readonly recoverySignal: boolean;
      /** The system whose given-up founding this volume succeeds, until its own log has begun. */
      readonly succeeds?: string | null;
    }
  | { readonly kind: "standby"; readonly systemId: string; readonly timeline: TimelineId };

export type UnfinishedWork = "initdb" | "seed" | "restore" | "clone" | "rewind";

/** What a look into the store showed. Only a listing that succeeded may say `empty` (P5). */
export type StoreFacts =
  /** No answer, or one that proves nothing. */
  | { readonly kind: "unknown"; readonly because: string }
  /** A clear no: keys, rights, bucket. */
  | { readonly kind: "refused"; readonly because: string }
  /** Something is there that cannot be read with this key. */
  | { readonly kind: "undecryptable"; readonly because: string }
  /** The log or the catalogue contradicts itself. */
  | { readonly kind: "damaged"; readonly because: string }
  | { readonly kind: "empty" }
  /** A founder claimed the prefix and no backup exists. `outcome`: what the store says became of it; null while it is open. */
  | {
      readonly kind: "unfinished-founding";
      readonly systemId: string;
      readonly outcome: FoundingOutcome | null;
    }
  | { readonly kind: "cluster"; readonly systemId: string };

/** What is known of the other members. A single node has none. */
export interface MembersFacts {
  /** A living primary that follows the store's history. */
  readonly primary: string | null;
  /** Every known member answered. True where there are none. */
  readonly allSeen: boolean;
  /** This node may make a new cluster (not a joiner by setting). */
  readonly mayFound: boolean;
  /** A member in sight that holds data, or that goes first among those without: this node waits for it. */
  readonly better?: string | null;
}

/** A restore that the environment or a command asks for, if it was not performed yet. */
export interface AskedRestore {
  /** Names the request, so that it is performed once. */
  readonly id: string;
  readonly from: "environment" | "command";
  /** The restore reads another cluster's prefix, and this one must be empty. */
  readonly otherPrefix: boolean;
  /** For people: `time 2026-11-24 12:00:00+00`. */
  readonly target: string;
}

export interface BootFacts {
  readonly releaseCommand: boolean;
  readonly volume: VolumeFacts;
  readonly store: StoreFacts;
  readonly members: MembersFacts;
  readonly restore: AskedRestore | null;
  /** This node may give up a founding that another volume began: it is alone, and its settings ask for a new cluster. */
  readonly mayGiveUp: boolean;
}

export type BootDecision = { readonly because: string } & (
  | { readonly kind: "idle" }
  /** Remove what the interrupted work left and decide again. */
  | { readonly kind: "clear"; readonly work: UnfinishedWork }
  /** `over`: the system whose founding is given up first. */
  | { readonly kind: "found"; readonly over: string | null }
  | { readonly kind: "join"; readonly primary: string }
  /** Restore to the end of the log and lead on a new timeline. */
  | { readonly kind: "restore-latest" }
  | { readonly kind: "restore-asked"; readonly request: AskedRestore }
  /** Replay what the archive has into the directory that is there: recovery.signal, set by hand. */
  | { readonly kind: "replay" }
  /** Fence, then the junction (T6): continue, bring a timeline, or become a suspect. */
  | { readonly kind: "contend"; readonly storeAway: boolean }
  | { readonly kind: "follow" }
  /** Look again later; doors stay closed. */
  | { readonly kind: "wait" }
  /** End with a status other than 0: only an operator can help. */
  | { readonly kind: "refuse" }
);

/** Decides from facts alone. Never `found` unless the prefix was proven empty. */
export function decideBoot(facts: BootFacts): BootDecision {
  const { volume } = facts;
  if (facts.releaseCommand)
    return { kind: "idle", because: "a release command's machine founds, fences and joins nothing" };
  switch (volume.kind) {
    case "wrong-version":
      return refuse(
        `the volume holds Postgres ${volume.found} and this image runs ${volume.expected}; use the image of that major version or the upgrade command`,
      );
    case "unfinished":
      return {
        kind: "clear",
        work: volume.work,
        because: `${AN[volume.work]} was interrupted before its completion was marked`,
      };
    case "foreign":
      return refuse(`the data directory is not one of ours and not whole: ${volume.because}`);
    case "empty":
      return facts.restore === null ? decideEmpty(facts) : decideAsked(facts, facts.restore);
    case "by-hand":
    case "primary":
    case "standby":
      return facts.restore === null ? decideFilled(facts, volume) : decideAsked(facts, facts.restore);
    default:
      return unreachable(volume);
  }
}

/** An empty volume: join the living, restore the dead, found only where nothing ever was. */
function decideEmpty({ store, members, mayGiveUp }: BootFacts): BootDecision {
  if (members.primary !== null && store.kind !== "empty")
    return {
      kind: "join",
      primary: members.primary,
      because: `the volume is empty and ${members.primary} leads`,
    };
  switch (store.kind) {
    case "unknown":
      return wait(`the volume is empty and the store does not answer: ${store.because}`);
    case "refused":
      return wait(`the volume is empty and the store refuses: ${store.because}`);
    case "undecryptable":
      return wait(
        `the volume is empty and the store's content cannot be read with this key: ${store.because}`,
      );
    case "damaged":
      return wait(`the volume is empty and the store's content is damaged: ${store.because}`);
    case "unfinished-founding":
      if (store.outcome === "admitted")
        return wait(
          `the volume is empty and none of system ${store.systemId}'s base backups is left, though clients were admitted to it: bring a backup back, clear the prefix, or choose another`,
        );
      if (members.better != null)
        return wait(`the volume is empty, and ${members.better} founds the cluster`);
      if (!mayGiveUp)
        return wait(
          `the volume is empty and system ${store.systemId} claimed the prefix without finishing its first backup; no client was ever admitted to it, so clear the prefix or choose another`,
        );
      return {
        kind: "found",
        over: store.systemId,
        because: `the volume is empty, and system ${store.systemId} claimed the prefix without ever admitting a client`,
      };
    case "empty":
      if (members.primary !== null)
        return wait(
          `the volume is empty, ${members.primary} leads, and the store's prefix is empty: is it the right prefix?`,
        );
      if (!members.mayFound) return wait("nothing exists yet and this node may not found a cluster");
      if (!members.allSeen)
        return wait("nothing exists yet and not every member was heard: one of them may hold the data");
      if (members.better != null) return wait(`nothing exists yet, and ${members.better} goes first`);
      return {
        kind: "found",
        over: null,
        because: "the volume is empty and a listing proved the store's prefix empty",
      };
    case "cluster":
      if (!members.allSeen)
        return wait(
          `the volume is empty, the archive holds system ${store.systemId}, and not every member was heard`,
        );
      if (members.better != null)
        return wait(
          `the volume is empty, and ${members.better} leads first: it holds data, or its name is first`,
        );
      return {
        kind: "restore-latest",
        because: `the volume is empty, the archive holds system ${store.systemId}, and no primary lives`,
      };
    default:
      return unreachable(store);
  }
}

/** A restore was asked for, by environment or command. */
function decideAsked({ store, volume }: BootFacts, request: AskedRestore): BootDecision {
  if (request.otherPrefix && volume.kind !== "empty")
    return refuse(
      "a restore from another prefix was asked for and the volume holds data; start it on an empty volume",
    );
  switch (store.kind) {
    case "unknown":
    case "refused":
    case "undecryptable":
    case "damaged":
      return wait(
        `a restore to ${request.target} was asked for and the store cannot be read: ${store.because}`,
      );
    case "empty":
      if (request.otherPrefix) return asked(request);
      return refuse(`a restore to ${request.target} was asked for and the store's prefix is empty`);
    case "unfinished-founding":
      // With another prefix it is this volume's own attempt, which is made anew.
      if (request.otherPrefix) return asked(request);
      return refuse(`a restore to ${request.target} was asked for and the store holds no backup`);
    case "cluster":
      // The cluster there is the one this request made in an earlier life, or it is not ours to write to.
      if (request.otherPrefix)
        return {
          kind: "restore-latest",
          because: `the own prefix already holds system ${store.systemId}, so the restore from the other prefix is not repeated`,
        };
      return asked(request);
    default:
      return unreachable(store);
  }
}

const asked = (request: AskedRestore): BootDecision => ({
  kind: "restore-asked",
  request,
  because: `a restore to ${request.target} was asked for by ${request.from}`,
});

type Filled = Extract<VolumeFacts, { kind: "by-hand" | "primary" | "standby" }>;

/** A whole data directory: the log decides whether it still leads. */
function decideFilled({ store, members }: BootFacts, volume: Filled): BootDecision {
  if (
    (store.kind === "cluster" || store.kind === "unfinished-founding") &&
    store.systemId !== volume.systemId &&
    !(store.kind === "unfinished-founding" && volume.kind === "primary" && volume.succeeds === store.systemId)
  )
    return refuse(
      `the store belongs to system identifier ${store.systemId} and the volume to ${volume.systemId}; nothing was written to either`,
    );
  if (
    store.kind === "unfinished-founding" &&
    store.outcome === "given-up" &&
    store.systemId === volume.systemId
  )
    return refuse(
      `the founding of system ${volume.systemId} was given up by another node before any client was admitted; clear this volume`,
    );
  const storeAway = isAway(store);
  if (volume.kind !== "standby" && volume.recoverySignal) {
    if (storeAway)
      return wait(`recovery.signal asks for a replay and the store cannot be read: ${store.because}`);
    return { kind: "replay", because: "recovery.signal asks to replay what the archive has" };
  }
  if (volume.kind === "by-hand" && volume.hasBackupLabel) {
    if (storeAway)
      return wait(`the volume holds a fetched backup and the store cannot be read: ${store.because}`);
    return { kind: "replay", because: "the volume holds a fetched backup that was never recovered" };
  }
  if (members.primary !== null) return { kind: "follow", because: `${members.primary} leads` };
  if (volume.kind === "standby") return { kind: "follow", because: "the volume holds a standby" };
  if (!storeAway)
    return {
      kind: "contend",
      storeAway: false,
      because: "the volume held a primary; the log decides whether it still leads",
    };
  if (store.kind === "undecryptable" || store.kind === "damaged")
    return wait(`the volume held a primary and the store's content cannot be read: ${store.because}`);
  // G7: with the store away a start is allowed only to a node that sees every member, or is alone.
  if (!members.allSeen)
    return wait(
      `the volume held a primary, the store does not answer and not every member was heard: ${store.because}`,
    );
  return {
    kind: "contend",
    storeAway: true,
    because: `the volume held a primary and no member is out of sight; the store does not answer: ${store.because}`,
  };
}

type AwayStore = Extract<StoreFacts, { because: string }>;
const isAway = (store: StoreFacts): store is AwayStore => "because" in store;

const wait = (because: string): BootDecision => ({ kind: "wait", because });
const refuse = (because: string): BootDecision => ({ kind: "refuse", because });

const AN: Record<UnfinishedWork, string> = {
  initdb: "an initdb",
  seed: "a seed",
  restore: "a restore",
  clone: "a clone",
  rewind: "a rewind",
};
