// Uploads what Postgres will ask for next: files with `.ready`, beside the one that it asked for. A failure here costs nothing.

import { readdir, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { Markers } from "./wal-markers.ts";
import { pushWalFile, type WalPushTools } from "./wal-push-file.ts";

export interface ReadyOptions {
  /** Uploads at once. */
  readonly parallel: number;
  /** Uploads in all. */
  readonly most: number;
  /** PG_READY_RENAME: tell Postgres at once by renaming `.ready` to `.done`. */
  readonly renames: boolean;
}

/** Resolves when the uploads that were begun before `stop` are over. Never rejects. */
export async function uploadReady(
  path: string,
  markers: Markers,
  stop: AbortSignal,
  tools: WalPushTools,
  options: ReadyOptions,
): Promise<void> {
  const status = join(dirname(path), "archive_status");
  const names = (await readdir(status).catch(() => []))
    .flatMap((entry) => (entry.endsWith(".ready") ? [entry.slice(0, -".ready".length)] : []))
    .filter((name) => name !== basename(path))
    .sort((a, b) => order(a, basename(path)) - order(b, basename(path)) || (a < b ? -1 : 1))
    .slice(0, options.most);
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined && !stop.aborted; name = names.shift()) {
      await uploadOne(join(dirname(path), name), status, markers, tools, options);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.parallel, names.length) }, work));
}

/** What follows the asked file comes first. */
const order = (name: string, asked: string): number => (name > asked ? 0 : 1);

async function uploadOne(
  path: string,
  status: string,
  markers: Markers,
  tools: WalPushTools,
  { renames }: ReadyOptions,
): Promise<void> {
  const name = basename(path);
  try {
    if (await markers.has(path)) return;
    await pushWalFile(path, tools);
    if (renames) await rename(join(status, `${name}.ready`), join(status, `${name}.done`));
    else await markers.put(path);
  } catch (error) {
    tools.log.debug("a segment that is ready could not be uploaded ahead", {
      name,
      because: messageOf(error),
    });
  }
}
