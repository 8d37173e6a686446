// Does this store honour conditional writes? Asked at boot, because a store that ignores them answers as if it did not.
// tail-log-protocol.md section 13; which servers fail and how: reference/s3-servers.md.

import { messageOf } from "../base/errors.ts";
import { type ObjectStore, StoreError, readWhole } from "./object-store.ts";

/** Objects of a probe; they are removed at its end, or by a later probe if it was killed. They are no sign of a cluster. */
export const PROBE_PREFIX = "tail_v1/probe/";

export type ProbeOutcome =
  /** A create that must fail fails, also among many at once; so does a replace with a wrong tag. */
  | { readonly kind: "conditional" }
  /** Fencing cannot rest on this store. */
  | { readonly kind: "unconditional"; readonly because: string }
  /** No answer, or one that proves nothing: ask again. */
  | { readonly kind: "away"; readonly because: string }
  /** A clear no: keys, rights, bucket. */
  | { readonly kind: "refused"; readonly because: string };

export interface ProbeOptions {
  /** Lower-case hex that no other probe uses; at most 20 digits. */
  readonly token: string;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

const RACERS = 8;
const LEFTOVER_MS = 3_600_000;
const WRONG_TAG = '"00000000000000000000000000000000"';

/** Writes and removes a few small objects below PROBE_PREFIX. Throws only when aborted. */
export async function probeStore(store: ObjectStore, options: ProbeOptions): Promise<ProbeOutcome> {
  const keys = [`${PROBE_PREFIX}${options.token}-one`, `${PROBE_PREFIX}${options.token}-race`] as const;
  try {
    const problem = (await probeOne(store, keys[0], options)) ?? (await probeRace(store, keys[1], options));
    await store.delete([...keys, ...(await leftovers(store, options))], options.signal);
    return problem === null ? { kind: "conditional" } : { kind: "unconditional", because: problem };
  } catch (error) {
    options.signal.throwIfAborted();
    if (!(error instanceof StoreError)) throw error;
    if (error.status === 501) return { kind: "unconditional", because: messageOf(error) };
    return { kind: error.kind === "refused" ? "refused" : "away", because: messageOf(error) };
  }
}

/** What is wrong, or null. */
async function probeOne(store: ObjectStore, key: string, { signal }: ProbeOptions): Promise<string | null> {
  const [first, second] = [Buffer.from("first"), Buffer.from("second")];
  if ((await store.create(key, first, signal)) !== "created") {
    throw new StoreError("unknown", `"${key}" was there before it was made`);
  }
  if ((await store.create(key, second, signal)) !== "exists") {
    return `${store.name} made an object a second time instead of saying that it exists`;
  }
  if ((await store.replace(key, second, WRONG_TAG, signal)) !== "changed") {
    return `${store.name} replaced an object though the tag was wrong`;
  }
  const found = await store.get(key, signal);
  if (found === null || !first.equals(await readWhole(found))) {
    return `${store.name} says that an object exists and overwrites it all the same`;
  }
  return null;
}

/** Some servers look first and write then: alone they are right, among many all win. */
async function probeRace(store: ObjectStore, key: string, { signal }: ProbeOptions): Promise<string | null> {
  const racers = Array.from({ length: RACERS }, async (_, number) => {
    try {
      return await store.create(key, Buffer.from(`racer ${number}`), signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof StoreError && error.kind === "unknown") return "unknown"; // 409 is a fair answer here
      throw error;
    }
  });
  const outcomes = await Promise.all(racers);
  const winners = outcomes.filter((outcome) => outcome === "created").length;
  return winners > 1 ? `of ${RACERS} writers at once ${winners} made the same object in ${store.name}` : null;
}

async function leftovers(store: ObjectStore, { nowMs, signal }: ProbeOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key, modifiedMs } of store.list(PROBE_PREFIX, signal)) {
    if (nowMs - modifiedMs > LEFTOVER_MS) keys.push(key);
  }
  return keys;
}
