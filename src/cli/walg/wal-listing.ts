// One listing of `wal_005`: its segments, the timelines and their histories.

import { listWal, WalCatalog, type WalObject } from "../../archive/wal-catalog.ts";
import { messageOf } from "../../base/errors.ts";
import type { ReadMethod } from "../../codec/compression.ts";
import { type Cipher, noCipher } from "../../codec/encryption.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { historyName, type Segment, type TimelineId } from "../../wal/segment-name.ts";
import { parseHistory, type TimelineHistory } from "../../wal/timeline-history.ts";

export interface WalListing {
  readonly objects: readonly WalObject[];
  /** Complete segments, each once. */
  readonly segments: readonly Segment[];
  /** Of the timelines that have a history file which could be read. */
  readonly histories: ReadonlyMap<TimelineId, TimelineHistory>;
  /** Timelines that have a history file, readable or not. */
  readonly historyTimelines: readonly TimelineId[];
  /** Histories that could not be read, and why. */
  readonly damaged: ReadonlyMap<TimelineId, string>;
}

/**
 * Lists the archive and reads its histories; a history that cannot be read is told, not thrown. `openCipher` is called only
 * when there is one.
 */
export async function readWalListing(
  store: Pick<ObjectStore, "get" | "list">,
  openCipher: () => Promise<Cipher>,
  segmentBytes: number,
  signal: AbortSignal,
): Promise<WalListing> {
  const objects: WalObject[] = [];
  for await (const object of listWal(store, segmentBytes, signal)) objects.push(object);
  const histories = new Map<TimelineId, TimelineHistory>();
  const damaged = new Map<TimelineId, string>();
  const historyTimelines = [
    ...new Set(objects.flatMap(({ meaning }) => (meaning.kind === "history" ? [meaning.timeline] : []))),
  ].sort((a, b) => a - b);
  const cipher = historyTimelines.length === 0 ? noCipher : await openCipher();
  const catalog = new WalCatalog({ store, cipher, segmentBytes, ...likely(objects) });
  for (const timeline of historyTimelines) {
    try {
      const file = await catalog.read(historyName(timeline), signal);
      if (file !== null)
        histories.set(timeline, parseHistory(timeline, new TextDecoder().decode(file.bytes)));
    } catch (error) {
      signal.throwIfAborted();
      damaged.set(timeline, messageOf(error));
    }
  }
  const segments = new Map<string, Segment>();
  for (const { name, meaning } of objects)
    if (meaning.kind === "segment") segments.set(name, meaning.segment);
  return { objects, segments: [...segments.values()], histories, historyTimelines, damaged };
}

/** The codec of the histories, so that reading each costs one request. */
function likely(objects: readonly WalObject[]): { readonly likely?: ReadMethod } {
  const history = objects.find(({ meaning }) => meaning.kind === "history");
  return history === undefined ? {} : { likely: history.method };
}
