// Gathers what the boot decision needs: the volume's marks and what the store shows. Changes nothing.

import { access } from "node:fs/promises";
import { join } from "node:path";
import { AppError, messageOf, unreachable } from "../base/errors.ts";
import { UNFINISHED_FETCH_NAME } from "../backup/fetch.ts";
import { listBackups, readSentinel } from "../backup/catalog.ts";
import { inspectVolume, type VolumePaths } from "../postgres/data-directory.ts";
import { type ObjectStore, StoreError } from "../storage/object-store.ts";
import { PROBE_PREFIX } from "../storage/probe.ts";
import { readIdentity } from "../tail/cluster-identity.ts";
import { readFounding } from "../tail/founding.ts";
import { ForeignLogError, LogDamagedError, LogUnreadableError } from "../tail/errors.ts";
import type { StoreFacts, VolumeFacts } from "./boot-decision.ts";
import { readSuccessor } from "./giving-up.ts";

/** What the volume holds, in the words of the decision. Throws VolumeError when it cannot be read. */
export async function gatherVolume(paths: VolumePaths, major: number): Promise<VolumeFacts> {
  const state = await inspectVolume(paths, major);
  switch (state.kind) {
    case "empty":
      return { kind: "empty" };
    case "unfinished":
      return { kind: "unfinished", work: state.mark.work };
    case "wrong-version":
      return { kind: "wrong-version", found: String(state.major), expected: String(major) };
    case "foreign":
      return { kind: "foreign", because: state.because };
    case "unmarked":
      // `wal-g backup-fetch` by hand, killed: what it left was never whole.
      if (await exists(join(paths.dataDirectory, UNFINISHED_FETCH_NAME)))
        return { kind: "unfinished", work: "seed" };
      if (state.control === null) return { kind: "foreign", because: state.because };
      if (state.major !== null && state.major !== major)
        return { kind: "wrong-version", found: String(state.major), expected: String(major) };
      return {
        kind: "by-hand",
        systemId: state.control.systemId.toString(),
        hasBackupLabel: await exists(join(paths.dataDirectory, "backup_label")),
        recoverySignal: await exists(join(paths.dataDirectory, "recovery.signal")),
      };
    case "was-primary":
      return {
        kind: "primary",
        systemId: state.control.systemId.toString(),
        timeline: state.control.timeline,
        recoverySignal: await exists(join(paths.dataDirectory, "recovery.signal")),
        succeeds: (await readSuccessor(paths))?.toString() ?? null,
      };
    case "was-standby":
      return {
        kind: "standby",
        systemId: state.control.systemId.toString(),
        timeline: state.control.timeline,
      };
    default:
      return unreachable(state);
  }
}

/** A look into the store: an identity, backups, or a proof that nothing is there. Never throws for what the store does. */
export async function gatherStore(
  store: Pick<ObjectStore, "name" | "get" | "list">,
  signal: AbortSignal,
): Promise<StoreFacts> {
  try {
    const identity = await readIdentity(store, signal);
    const backups = await listBackups(store, signal);
    if (identity !== null) {
      const systemId = identity.systemId.toString();
      if (backups.length > 0) return { kind: "cluster", systemId };
      const outcome = await readFounding(store, identity.systemId, signal);
      return { kind: "unfinished-founding", systemId, outcome };
    }
    // An archive that WAL-G wrote has backups and no identity of ours.
    const newest = backups.at(-1);
    if (newest !== undefined) {
      const sentinel = await readSentinel(store, newest.name, signal);
      return { kind: "cluster", systemId: (sentinel.systemIdentifier ?? "unknown").toString() };
    }
    for await (const { key } of store.list("", signal)) {
      // A boot probe that was killed leaves objects that mean nothing.
      if (key.startsWith(PROBE_PREFIX)) continue;
      return { kind: "damaged", because: `there is no backup, but "${key}" and perhaps more` };
    }
    return { kind: "empty" };
  } catch (error) {
    signal.throwIfAborted();
    return factsOfError(error);
  }
}

/** The error, and what to check next. */
const adviceOf = (error: unknown): string =>
  error instanceof AppError && error.hint !== "" ? `${messageOf(error)} (${error.hint})` : messageOf(error);

/** What an error of the store says about it. */
export function factsOfError(
  error: unknown,
): Exclude<StoreFacts, { kind: "empty" | "cluster" | "unfinished-founding" }> {
  const because = adviceOf(error);
  if (error instanceof StoreError) return { kind: error.kind, because };
  if (error instanceof LogUnreadableError) return { kind: "undecryptable", because };
  if (error instanceof LogDamagedError || error instanceof ForeignLogError)
    return { kind: "damaged", because };
  return { kind: "unknown", because };
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
