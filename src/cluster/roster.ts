// The roster: who counts and, in synchronous modes, who may be promoted. One object in the store, changed by compare-and-swap only.

/** A copy of the data: a node that lost its volume and was filled again is another holder of the same name. */
export interface Holder {
  readonly name: string;
  /** Drawn when the volume was filled. */
  readonly volume: string;
}

/** Written by the owner of the log's newest fence. */
export interface Roster {
  readonly format: 1;
  /** Position of the writer's fence: who has a lower one may not change it any more. */
  readonly epoch: number;
  /** Names whose word a primary without the store needs, and who alone may be promoted. */
  readonly members: readonly string[];
  /** Who led when it was written; holds everything acknowledged. */
  readonly leader: Holder | null;
  /** Each of these holds every acknowledged commit: the leader needs their confirmation for each. Null: the mode does not ask. */
  readonly inSync: readonly Holder[] | null;
  /** An operator switched automatic failover off. */
  readonly isPaused: boolean;
}

export const ROSTER_KEY = "tail_v1/roster.json";

export type Claim =
  | { readonly kind: "write"; readonly roster: Roster }
  | { readonly kind: "refused"; readonly because: string };

export interface Claimant extends Holder {
  readonly epoch: number;
  /** Every copy that is known to hold everything acknowledged is lost for good: see `isOrphaned`. */
  readonly isOrphaned: boolean;
  /** It made every acknowledgement itself, and its log goes on: nobody needs to vouch for it. */
  readonly isContinuing: boolean;
}

/**
 * What a node that holds the fence `epoch` writes before it leads. From then on the old primary's swaps fail, so the answer to "who is
 * in sync?" cannot change under it. `inSync` stays as it is until the promotion is recorded: this gate may end half-way.
 */
export function claimRoster(found: Roster | null, claimant: Claimant, members: readonly string[]): Claim {
  const { epoch, name } = claimant;
  if (found === null) {
    const all = [...new Set([...members, name])].sort();
    return {
      kind: "write",
      roster: { format: 1, epoch, members: all, leader: null, inSync: null, isPaused: false },
    };
  }
  if (found.epoch > epoch)
    return { kind: "refused", because: `fence ${found.epoch} claimed the roster, newer than ${epoch}` };
  if (!found.members.includes(name))
    return { kind: "refused", because: `${name} is not in the roster: ${found.members.join(", ")}` };
  if (!claimant.isContinuing && !claimant.isOrphaned && !holdsAll(found, claimant)) {
    const who = (found.inSync ?? []).map((holder) => holder.name).join(", ") || "nobody";
    return { kind: "refused", because: `${name} may lack acknowledged commits; in sync: ${who}` };
  }
  const leader = claimant.isContinuing ? { name, volume: claimant.volume } : found.leader;
  return { kind: "write", roster: { ...found, epoch, leader } };
}

/** Is this copy known to hold everything acknowledged? Always, where the mode does not ask. */
export function holdsAll({ inSync, leader }: Roster, { name, volume }: Holder): boolean {
  if (inSync === null) return true;
  const holders = leader === null ? inSync : [...inSync, leader];
  return holders.some((holder) => holder.name === name && holder.volume === volume);
}

/**
 * Every node of which the roster says that its copy holds everything is in sight with another volume: what they acknowledged is in the
 * store or nowhere, and there is nobody to wait for.
 */
export function isOrphaned(roster: Roster, inSight: readonly Holder[]): boolean {
  if (roster.inSync === null || roster.leader === null) return false;
  return [...roster.inSync, roster.leader].every((holder) =>
    inSight.some(({ name, volume }) => name === holder.name && volume !== holder.volume),
  );
}

/** After a promotion and before the doors: nobody but the new primary holds what it will acknowledge. */
export const declareRoster = (claimed: Roster, { name, volume }: Holder, isSynchronous: boolean): Roster => ({
  ...claimed,
  leader: { name, volume },
  inSync: isSynchronous ? [] : null,
});

/** What the owner knows of another node. */
export interface RosterSubject {
  readonly name: string;
  /** Milliseconds since it was last heard; null: not since this process began, which is `upMs` ago. */
  readonly heardAgoMs: number | null;
  /** It said so itself, in sight now, with our system identifier. */
  readonly isMember: boolean;
}

/**
 * The next roster, or null when it is right. Members that show up are added; who was not heard for `forgetMs` leaves. Adding counts
 * before it is written, removing only after.
 */
export function planRoster(
  roster: Roster,
  self: string,
  subjects: readonly RosterSubject[],
  { forgetMs, upMs }: { readonly forgetMs: number; readonly upMs: number },
): { readonly roster: Roster; readonly because: string } | null {
  const added = subjects.filter(({ name, isMember }) => isMember && !roster.members.includes(name));
  const ghosts = roster.members.filter((name) => {
    if (name === self) return false;
    const agoMs = subjects.find((subject) => subject.name === name)?.heardAgoMs ?? upMs;
    return agoMs >= forgetMs;
  });
  const isIn = roster.members.includes(self);
  if (added.length === 0 && ghosts.length === 0 && isIn) return null;
  const names = new Set([...roster.members, ...added.map(({ name }) => name), self]);
  for (const ghost of ghosts) names.delete(ghost);
  const because = [
    ...added.map(({ name }) => `${name} joined`),
    ...ghosts.map((name) => `${name} was not heard for ${Math.round(forgetMs / 1000)} s`),
    ...(isIn ? [] : [`${self} leads`]),
  ].join(", ");
  const inSync = roster.inSync === null ? null : roster.inSync.filter(({ name }) => names.has(name));
  return { roster: { ...roster, members: [...names].sort(), inSync }, because };
}

/** Whose grant a primary without the store needs: everybody who might be promoted while the change is under way. */
export function countedMembers(roster: Roster, wanted: Roster | null, self: string): readonly string[] {
  const names = new Set([...roster.members, ...(wanted?.members ?? [])]);
  names.delete(self);
  return [...names].sort();
}

/** Reads the object; null for anything that is not one: then nobody is promoted by it. */
export function parseRoster(text: string): Roster | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { format, epoch, members, leader, inSync, isPaused } = value as Record<string, unknown>;
  if (format !== 1 || typeof isPaused !== "boolean") return null;
  if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 0) return null;
  if (!isNames(members) || (leader !== null && !isHolder(leader))) return null;
  if (inSync !== null && !(Array.isArray(inSync) && inSync.every(isHolder))) return null;
  return { format, epoch, members, leader, inSync, isPaused };
}

const isNames = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((name) => typeof name === "string");

function isHolder(value: unknown): value is Holder {
  if (typeof value !== "object" || value === null) return false;
  const { name, volume } = value as Record<string, unknown>;
  return typeof name === "string" && typeof volume === "string";
}
