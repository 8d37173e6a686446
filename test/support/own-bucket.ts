// A bucket as Holdfast leaves it: backups full and delta with manifests, two timelines, segments, histories, and a log with an end that only it has.

import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { orderOf } from "../../src/recovery/replay-order.ts";
import { performRestore } from "../../src/recovery/restore.ts";
import { planRestore } from "../../src/recovery/plan.ts";
import { readArchive, readPlanFacts } from "../../src/recovery/read-archive.ts";
import { LATEST } from "../../src/recovery/target.ts";
import { BackupFormatError } from "../../src/backup/format-error.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { CodecError } from "../../src/codec/codec-error.ts";
import { systemClock } from "../../src/base/clock.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { testLog } from "./archive-bench.ts";
import { fetch, PLAIN, push } from "./backup-source.ts";
import { type Life, Lives, rowsOf } from "./lives.ts";
import { RestoreBench } from "./restore-bench.ts";
import { type ScratchPostgres, scratchFolder } from "./scratch-postgres.ts";

export const SEGMENT_BYTES = 1 << 20;

/** Looks at the bucket while it grows, with slots under way and without: it must be whole at every moment. */
export type Watch = (place: string) => Promise<void>;

export class OwnBucket implements AsyncDisposable {
  /** Folder of the whole bucket; nothing may change it. */
  readonly place: string;
  /** Numbers of all rows, in the order in which they were committed. */
  readonly rows: readonly number[];
  readonly #things: AsyncDisposableStack;
  #copies = 0;

  private constructor(root: string, rows: readonly number[], things: AsyncDisposableStack) {
    this.place = join(root, "store");
    this.rows = rows;
    this.#things = things;
  }

  /** Runs two servers one after the other, both lost at the end. */
  static async make(watch: Watch): Promise<OwnBucket> {
    const things = new AsyncDisposableStack();
    const { path: root } = things.use(await scratchFolder("own-bucket"));
    const store = await openFolderStore(join(root, "store"), { create: true });
    await using lives = await Lives.open(store);
    const rows: number[] = [];
    const write = async (life: Life, count: number, bytes: number): Promise<void> => {
      for (let left = count; left > 0; left -= 1) {
        rows.push(await lives.insert(life, bytes));
        await watch(join(root, "store"));
        // A slot each.
        await life.archiving.settle(life.server);
        await watch(join(root, "store"));
      }
    };
    const first = await lives.first();
    await write(first, 8, 200_000);
    await delta(first, store);
    await write(first, 5, 200_000);
    await lives.lose(first);
    await watch(join(root, "store"));
    const second = await lives.next(first.server);
    await write(second, 5, 200_000);
    await lives.backUp(second);
    await write(second, 10, 40_000);
    await lives.lose(second);
    await watch(join(root, "store"));
    return new OwnBucket(root, rows, things);
  }

  /** A copy that may be damaged. */
  async copy(): Promise<string> {
    const to = join(this.place, "..", `copy-${(this.#copies += 1)}`);
    await cp(this.place, to, { recursive: true, preserveTimestamps: true });
    return to;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#things.disposeAsync();
  }
}

async function delta({ server }: Life, store: Parameters<typeof push>[1]): Promise<void> {
  const { dataDirectory, host, port } = server;
  await push({ dataDirectory, host, port } as ScratchPostgres, store, PLAIN, { maxSteps: 3 });
}

/** Keys of all objects below a folder, in order. */
export async function keysBelow(place: string): Promise<readonly string[]> {
  const entries = await readdir(place, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(place.length + 1))
    .sort();
}

/**
 * What a machine with an empty volume makes of the bucket: the rows it then has. A damaged backup is left out as the supervisor does. Rejects
 * when the restore is refused.
 */
export async function restoreFrom(place: string, signal: AbortSignal): Promise<readonly number[]> {
  const store = await openFolderStore(place);
  const source: ArchiveSource = {
    ...{ store, cipher: noCipher, likely: "lz4", clock: systemClock, log: testLog },
    ...{ systemId: null, segmentBytes: SEGMENT_BYTES, magic: null },
  };
  await using bench = await RestoreBench.open();
  const damaged = new Set<string>();
  for (;;) {
    const archive = await readArchive(source, "latest", signal, damaged);
    const nowUs = BigInt(Date.now()) * 1000n;
    const plan = planRestore(LATEST, await readPlanFacts(archive, LATEST, nowUs, signal));
    try {
      await fetch(store, plan.backup.name, bench.dataDirectory, PLAIN);
    } catch (error) {
      if (!isDamage(error)) throw error;
      damaged.add(plan.backup.name);
      await rm(bench.dataDirectory, { recursive: true, force: true });
      continue;
    }
    await performRestore(orderOf(plan, archive, false), await bench.surroundings(store, signal));
    return await rowsOf({ server: bench });
  }
}

const isDamage = (error: unknown): boolean =>
  error instanceof BackupFormatError ||
  error instanceof CodecError ||
  (error instanceof StoreError && error.kind === "damaged");
