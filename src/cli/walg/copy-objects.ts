// Copies objects between stores: payload before metadata before sentinels, eight at a time, nothing overwritten with other bytes.

import { AppError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type ObjectInfo, type ObjectStore, readWhole } from "../../storage/object-store.ts";

/** One object to copy. */
export interface CopyItem {
  readonly key: string;
  readonly bytes: number;
}

export interface CopyTools {
  readonly from: ObjectStore;
  readonly to: ObjectStore;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What has to be copied: what is there with the same size is left out. Throws AppError naming what is there with another size. */
export async function missingAt(
  to: Pick<ObjectStore, "list">,
  items: readonly CopyItem[],
  signal: AbortSignal,
): Promise<CopyItem[]> {
  const there = new Map<string, number>();
  for (const folder of new Set(items.map(({ key }) => `${key.split("/")[0]}/`))) {
    for await (const info of to.list(folder, signal)) there.set(info.key, info.bytes);
  }
  const conflicts = items.filter(({ key, bytes }) => isConflict(key, bytes, there.get(key)));
  if (conflicts.length > 0) {
    throw new AppError(
      `${conflicts.length} objects exist at the destination with another size, "${conflicts[0]!.key}" first`,
      {
        code: "COPY_CONFLICT",
        hint: "two clusters must not share a prefix: copy to an empty one",
      },
    );
  }
  return items.filter(({ key, bytes }) => there.get(key) !== bytes || isMetadata(key));
}

/** The mark of a backup may have changed since an earlier copy: metadata.json is copied again. */
const isMetadata = (key: string): boolean => key.endsWith("/metadata.json");
const isConflict = (key: string, bytes: number, there: number | undefined): boolean =>
  there !== undefined && there !== bytes && !isMetadata(key);

/** Copies in the order that keeps every backup either whole or invisible; deltas after their bases. */
export async function copyAll(items: readonly CopyItem[], tools: CopyTools): Promise<void> {
  const stage = ({ key }: CopyItem): number => (isSentinel(key) ? 2 : key.endsWith(".json") ? 1 : 0);
  for (const wanted of [0, 1]) {
    const part = items.filter((item) => stage(item) === wanted);
    for (let at = 0; at < part.length; at += PARALLEL) {
      await Promise.all(part.slice(at, at + PARALLEL).map((item) => copyOne(item, tools)));
    }
  }
  for (const item of items.filter((one) => stage(one) === 2)) await copyOne(item, tools);
}

const isSentinel = (key: string): boolean => key.endsWith("_backup_stop_sentinel.json");

/** Copies one object and checks that as many bytes arrived as the listing said. */
export async function copyOne({ key, bytes }: CopyItem, { from, to, log, signal }: CopyTools): Promise<void> {
  const object = await from.get(key, signal);
  if (object === null) {
    throw new AppError(`"${key}" vanished from ${from.name} while it was copied`, {
      code: "COPY_SOURCE",
      hint: "a deletion may be running there: let it end and copy again",
    });
  }
  if (object.bytes <= WHOLE_BYTES_MOST) await to.put(key, await readWhole(object), signal);
  else await to.put(key, object.body, signal, { bytes: object.bytes });
  const arrived = await to.head(key, signal);
  if (arrived?.bytes !== object.bytes) {
    throw new AppError(`"${key}" has ${arrived?.bytes ?? "no"} bytes at ${to.name}, not ${object.bytes}`, {
      code: "COPY_SHORT",
      hint: "copy again",
    });
  }
  log.debug("copied", { key, bytes });
}

/** All objects below a prefix. */
export async function listAll(
  store: Pick<ObjectStore, "list">,
  prefix: string,
  signal: AbortSignal,
): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  for await (const info of store.list(prefix, signal)) found.push(info);
  return found;
}

const PARALLEL = 8;
const WHOLE_BYTES_MOST = 8 << 20;
