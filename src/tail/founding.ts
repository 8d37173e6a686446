// What became of a system's founding, in one create-only object: clients were admitted, or it was given up. Whoever puts it first is right, so
// a founder that is slow and a node that finds its prefix without a backup never both go on.

import { type ObjectStore, readWhole } from "../storage/object-store.ts";
import { LogDamagedError } from "./errors.ts";

/**
 * `admitted`: put after the first base backup and before the first client is let in. `given-up`: put before another founder takes the prefix;
 * from then on nobody is ever let in to that system here.
 */
export type FoundingOutcome = "admitted" | "given-up";

/** The outcome, or null while it is open. Throws StoreError, LogDamagedError. */
export async function readFounding(
  store: Pick<ObjectStore, "get">,
  systemId: bigint,
  signal: AbortSignal,
): Promise<FoundingOutcome | null> {
  const key = foundingKey(systemId);
  const object = await store.get(key, signal);
  return object === null ? null : parseOutcome(key, await readWhole(object, OUTCOME_BYTES_MOST));
}

/** Puts the outcome unless there is one; resolves to the one that stands. Throws StoreError (an unknown outcome: call again), LogDamagedError. */
export async function settleFounding(
  store: Pick<ObjectStore, "get" | "create">,
  systemId: bigint,
  outcome: FoundingOutcome,
  signal: AbortSignal,
): Promise<FoundingOutcome> {
  const key = foundingKey(systemId);
  const body = Buffer.from(`${JSON.stringify({ format: 1, outcome })}\n`);
  if ((await store.create(key, body, signal)) === "created") return outcome;
  const stands = await readFounding(store, systemId, signal);
  if (stands === null) throw new LogDamagedError(`object "${key}" exists and cannot be found`);
  return stands;
}

function parseOutcome(key: string, bytes: Uint8Array): FoundingOutcome {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw new LogDamagedError(`object "${key}" is not JSON`, error);
  }
  const { format, outcome } = (value ?? {}) as Record<string, unknown>;
  if (format === 1 && (outcome === "admitted" || outcome === "given-up")) return outcome;
  throw new LogDamagedError(
    `object "${key}" says neither that clients were admitted nor that it was given up`,
  );
}

const foundingKey = (systemId: bigint): string => `tail_v1/founding/${systemId}.json`;
const OUTCOME_BYTES_MOST = 4 * 1024;
