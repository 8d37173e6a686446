// Machines one after another on one archive: a first server, then restores that lead on new timelines.

import { join } from "node:path";
import type { Streamer } from "../../src/archive/streamer.ts";
import { readSourceLog } from "../../src/archive/archive-source.ts";
import type { StreamerBeginning } from "../../src/archive/streamer-options.ts";
import type { PromotedReplay, ReplayHost, ReplayOrder } from "../../src/recovery/replay-order.ts";
import { LATEST, type RestoreRequest } from "../../src/recovery/target.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import type { Lsn } from "../../src/wal/lsn.ts";
import { Archiving, type ArchivingServer, Hooks, sourceOf } from "./archive-bench.ts";
import { fetch, PLAIN, push } from "./backup-source.ts";
import { RestoreBench } from "./restore-bench.ts";
import { scratchFolder, type ScratchPostgres, scratchPostgres } from "./scratch-postgres.ts";

const LIMIT_MS = 240_000;

/** One machine's life: a server that archives. */
export interface Life {
  readonly server: ArchivingServer;
  readonly streamer: Streamer;
  readonly archiving: Archiving;
  kill(): Promise<void>;
}

export class Lives implements AsyncDisposable {
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
  readonly things: AsyncDisposableStack;
  #next = 1;

  private constructor(store: ObjectStore, signal: AbortSignal, things: AsyncDisposableStack) {
    this.store = store;
    this.signal = signal;
    this.things = things;
  }

  /** On a new folder, or on a store that is there. */
  static async open(given?: ObjectStore): Promise<Lives> {
    const things = new AsyncDisposableStack();
    if (given !== undefined) return new Lives(given, AbortSignal.timeout(LIMIT_MS), things);
    const folder = things.use(await scratchFolder());
    const store = await openFolderStore(join(folder.path, "store"), { create: true });
    return new Lives(store, AbortSignal.timeout(LIMIT_MS), things);
  }

  async first(): Promise<Life> {
    const { things, store, signal } = this;
    const server = things.use(await scratchPostgres({ segmentMb: 1, start: false }));
    const hooks = things.use(await Hooks.open(server.root, server.user));
    await server.configure([...hooks.conf, "fsync = off", "wal_buffers = 256kB", "wal_writer_delay = 10ms"]);
    await server.start();
    const archiving = things.use(await Archiving.begin(server, store, hooks, { signal, flushMs: 100 }));
    await server.psql("create table rows(id int primary key, filler text)");
    await push(server, store, PLAIN);
    return { server, archiving, streamer: archiving.streamer, kill: () => server.kill() };
  }

  /** Restores onto a new machine and leads there, on a new timeline. `on` sees the machine before it replays. */
  async next(
    origin: ArchivingServer,
    request: RestoreRequest = LATEST,
    { own = this.store, on = () => undefined, change = {}, more = {} }: NextOptions = {},
  ): Promise<
    Life & {
      readonly promoted: PromotedReplay;
      readonly bench: RestoreBench;
      readonly fork: Lsn;
      readonly cut: boolean;
    }
  > {
    const { things, store, signal } = this;
    const bench = things.use(await RestoreBench.open());
    const source = await sourceOf(origin, store);
    const planned = await bench.plan(source, request, signal);
    await fetch(store, planned.plan.backup.name, bench.dataDirectory, PLAIN);
    on(bench);
    const promoted = await bench.perform(planned, own, signal, change, more);
    const { claim, change: made, backfill, path, isGenesis } = promoted;
    const beginning: StreamerBeginning = {
      kind: "bring",
      change: made,
      backfill,
      parentPath: path.slice(0, -1),
    };
    const archiving = things.use(
      await Archiving.begin(bench, own, bench.hooks, {
        signal,
        flushMs: 100,
        claim,
        ...(isGenesis ? {} : { beginning }),
      }),
    );
    return {
      ...{ server: bench, bench, archiving, streamer: archiving.streamer, promoted },
      kill: () => bench.kill(),
      fork: made.fork,
      cut: made.cut,
    };
  }

  /** A base backup of this life, into this archive. */
  async backUp(life: Life): Promise<void> {
    const { dataDirectory, host, port } = life.server;
    await push({ dataDirectory, host, port } as ScratchPostgres, this.store, PLAIN);
  }

  /** Inserts one row of this many bytes; its number. */
  async insert(life: Life, bytes = 100): Promise<number> {
    const id = this.#next++;
    await life.server.psql(`insert into rows values (${id}, repeat('x', ${bytes}))`);
    return id;
  }

  /** Kills server and streamer, as the loss of the machine would. */
  async lose(life: Life): Promise<{ readonly end: Lsn }> {
    await life.kill();
    await life.streamer.stop();
    return { end: await this.end(life) };
  }

  /** Where the log ends now. */
  async end(life: Life): Promise<Lsn> {
    const view = await readSourceLog(await sourceOf(life.server, this.store), this.signal);
    return view!.tip!.end;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.things.disposeAsync();
  }
}

export interface NextOptions {
  /** Where the new life writes; by default where the old one did. */
  readonly own?: ObjectStore;
  readonly on?: (bench: RestoreBench) => void;
  readonly change?: Partial<ReplayOrder>;
  readonly more?: Partial<Pick<ReplayHost, "patience" | "stillMs">>;
}

/** Numbers of all rows, ascending. */
export const rowsOf = async (life: Pick<Life, "server">): Promise<number[]> =>
  (await life.server.psql("select id from rows order by 1"))
    .split("\n")
    .filter((id) => id !== "")
    .map(Number);
