// The roster: who counts and, in synchronous modes, who may be promoted. One object in the store, changed by compare-and-swap only.

/** Written by the owner of the log's newest fence. `inSync` null: the mode does not ask. */
export interface Roster {
  readonly format: 1;
  /** Position of the writer's fence: who has a lower one may not change it any more. */
  readonly epoch: number;
  /** Names whose word a primary without the store needs, and who alone may be promoted. */
  readonly members: readonly string[];
  /** Every one of these holds every acknowledged commit. The primary needs their confirmation for each. */
  readonly inSync: readonly string[] | null;
}

export const ROSTER_KEY = "tail_v1/roster.json";

export type Claim =
  | { readonly kind: "write"; readonly roster: Roster }
  | { readonly kind: "refused"; readonly because: string };

/**
 * What a candidate that holds the fence `epoch` writes before it promotes. From then on the old primary's swaps fail, so the answer
 * to "who is in sync?" cannot change under it. `inSync` stays as it is until the promotion is recorded: this gate may end half-way.
 */
export function claimRoster(
  found: Roster | null,
  epoch: number,
  name: string,
  configured: readonly string[],
): Claim {
  if (found === null)
    return { kind: "write", roster: { format: 1, epoch, members: [...configured].sort(), inSync: null } };
  if (found.epoch > epoch)
    return { kind: "refused", because: `fence ${found.epoch} claimed the roster, newer than ${epoch}` };
  if (!found.members.includes(name))
    return { kind: "refused", because: `${name} is not in the roster: ${found.members.join(", ")}` };
  if (found.inSync !== null && !found.inSync.includes(name))
    return {
      kind: "refused",
      because: `${name} may lack acknowledged commits; in sync: ${found.inSync.join(", ") || "nobody"}`,
    };
  return { kind: "write", roster: { ...found, epoch } };
}

/** After a promotion and before the doors: nobody but the new primary holds what it will acknowledge. */
export const declareRoster = (claimed: Roster, isSynchronous: boolean): Roster => ({
  ...claimed,
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
  const inSync = roster.inSync === null ? null : roster.inSync.filter((name) => names.has(name));
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
  const { format, epoch, members, inSync } = value as Record<string, unknown>;
  if (format !== 1 || typeof epoch !== "number" || !isNames(members)) return null;
  if (inSync !== null && !isNames(inSync)) return null;
  return { format, epoch, members, inSync };
}

const isNames = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((name) => typeof name === "string");
