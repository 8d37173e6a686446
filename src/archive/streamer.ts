// From the server's replication connection into the log, and the durable position back (W2 to W9). One streamer for one start of Postgres.

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../base/errors.ts";
import { pauseBefore } from "../base/retry.ts";
import type { ReplicationConnection } from "../postgres/replication-connection.ts";
import type { StreamEvent } from "../postgres/replication-types.ts";
import { serverFacts } from "../postgres/queries.ts";
import { ServerError, SQLSTATE } from "../postgres/server-error.ts";
import { ensureSlot, findSlot, freeSlot } from "../postgres/slots.ts";
import { FencedError, WalDivergedError } from "../tail/errors.ts";
import { WINDOW } from "../tail/slot.ts";
import { type Lsn, ZERO_LSN } from "../wal/lsn.ts";
import { segmentFloor, segmentName } from "../wal/segment-name.ts";
import { lastStep } from "../wal/timeline-path.ts";
import { ArchiveCommand } from "./archive-command.ts";
import { beginLog } from "./begin-log.ts";
import { fillGap } from "./fill-gap.ts";
import type { HookAnswer, HookRequest } from "./hook-answer.ts";
import { LagClock } from "./lag.ts";
import { pgWal } from "./local-wal.ts";
import type { DrainOutcome, StreamerEnd, StreamerOptions } from "./streamer-options.ts";
import type { StreamerPhase, StreamerStatus } from "./streamer-status.ts";
import { MessageBuffer } from "./message-buffer.ts";
import { ForeignServerError, ServerRestartedError } from "./streamer-errors.ts";
import { TroubleBook } from "./trouble-book.ts";

/** Starts streaming; everything goes on in the background until `ended`. */
export function startStreamer(options: StreamerOptions): Streamer {
  return new Streamer(options);
}

/** The published entry for the socket: `archive NAME PATH`; `streamer` null on a node that owns no log (A5). */
export async function answerArchive(
  streamer: Streamer | null,
  request: HookRequest,
  signal: AbortSignal,
): Promise<HookAnswer> {
  if (streamer === null) {
    return { exit: 1, sentence: `this node does not own the log; "${request.name}" stays with Postgres` };
  }
  return await streamer.archive(request, signal);
}

export class Streamer {
  /** Resolves once clients may be let in as far as the log is concerned (G5): at once, or after the history slot. Rejects when it ended before. */
  readonly doors: Promise<void>;
  readonly ended: Promise<StreamerEnd>;
  readonly #options: StreamerOptions;
  readonly #command: ArchiveCommand;
  readonly #stop = new AbortController();
  readonly #draining = new AbortController();
  readonly #complete = Promise.withResolvers<boolean>();
  readonly #lag = new LagClock();
  readonly #connectionTrouble = new TroubleBook();
  readonly #storeTrouble = new TroubleBook();
  #phase: StreamerPhase = "owing";
  #because = "taking up the log";
  #connection: ReplicationConnection | null = null;
  #received: Lsn = ZERO_LSN;
  #slotWalStatus: string | null = null;
  #serverStartedMs: number | null = null;
  #lastSettledMs: number | null = null;
  readonly #gathered = new MessageBuffer();
  #firstSegment: bigint | null = null;
  #openDoors: () => void = () => undefined;

  constructor(options: StreamerOptions) {
    this.#options = options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.doors = promise;
    promise.catch(() => undefined);
    this.#openDoors = resolve;
    const { owner, dataDirectory, segmentBytes, publish, clock, log } = options;
    this.#command = new ArchiveCommand({
      ...{ owner, dataDirectory, segmentBytes, publish, clock, log },
      isStreaming: () => this.#connection !== null,
      stopping: this.#draining.signal,
    });
    this.ended = this.#run().then((end) => {
      this.#phase = end.kind === "fenced" || end.kind === "diverged" ? "fenced" : "stopped";
      this.#because = "because" in end ? end.because : end.kind;
      reject(end.kind === "failed" ? end.error : new FencedError(`the streamer ended: ${this.#because}`));
      this.#complete.resolve(false);
      return end;
    });
  }

  /** Answers archive_command (A1 to A6). Never throws. */
  archive(request: HookRequest, signal: AbortSignal): Promise<HookAnswer> {
    return this.#command.answer(request, signal);
  }

  status(): StreamerStatus {
    const { owner, clock } = this.#options;
    const { health, view } = owner;
    const durable = owner.durable;
    const lag = this.#lag.lag(durable ?? view.tip?.end ?? ZERO_LSN, clock.monotonicMs());
    this.#noteStore();
    return {
      phase: this.#phase,
      because: this.#because,
      timeline: view.tip?.timeline ?? 0,
      epoch: health.epoch,
      durable,
      received: this.#received,
      serverEnd: this.#lag.serverEnd,
      lagBytes: lag.bytes,
      lagSeconds: lag.seconds,
      heldBytes: health.unsettledBytes,
      nextSeq: view.firstFree,
      slotsPut: Math.max(0, view.firstFree - health.epoch - WINDOW),
      liveSlots: health.liveSlots,
      segmentsPublished: this.#published(durable, health.owedPublications),
      segmentsOwed: health.owedPublications,
      lastSettledMs: this.#lastSettledMs,
      newestCommitMs: health.newestCommit,
      store: this.#storeTrouble.trouble,
      connection: this.#connectionTrouble.trouble,
      slotWalStatus: this.#slotWalStatus,
      alarms: [...this.#command.alarms, ...(health.conflict === null ? [] : [health.conflict.message])],
    };
  }

  /**
   * A stop of Postgres begins: from now on archive_command is answered at once, and everything received is put without delay. Call it before
   * SIGINT is sent. Resolves when the server has sent everything and it is settled, published and under a base, or when `limitMs` is over: then
   * the connection is closed, so that the server does not wait for a position that will not come (W8).
   */
  async drain(limitMs: number): Promise<DrainOutcome> {
    const { clock, owner } = this.#options;
    this.#draining.abort(new Error("Postgres is stopping"));
    this.#phase = "draining";
    const began = clock.monotonicMs();
    const late = delay(limitMs, false, { ref: false });
    const complete = await Promise.race([this.#complete.promise, late]);
    const leftMs = Math.max(limitMs - (clock.monotonicMs() - began), complete ? LIMITS.leastSettleMs : 0);
    await this.#connection?.close();
    const settled = await owner.stop(leftMs);
    this.#stop.abort(new Error("drained"));
    return { settled, complete };
  }

  /** Ends now; nothing more is put. Idempotent. */
  async stop(): Promise<void> {
    this.#draining.abort(new Error("the streamer is stopping"));
    this.#stop.abort(new Error("the streamer was stopped"));
    await this.#options.owner.close();
    await this.ended;
  }

  async #run(): Promise<StreamerEnd> {
    const { owner, signal } = this.#options;
    const until = AbortSignal.any([signal, this.#stop.signal, owner.lost]);
    // Looked at by itself, so that "since when" is right whoever asks how late.
    const watch = setInterval(() => this.#noteStore(), LIMITS.watchMs);
    try {
      await beginLog(this.#options);
      this.#openDoors();
      await this.#streamForEver(until);
      return { kind: "stopped" };
    } catch (error) {
      return this.#endOf(error);
    } finally {
      clearInterval(watch);
      await this.#connection?.close();
    }
  }

  #noteStore(): void {
    const { owner, clock } = this.#options;
    this.#storeTrouble.note(owner.health.trouble, clock.now());
  }

  #endOf(error: unknown): StreamerEnd {
    const { owner, signal, log } = this.#options;
    const cause = owner.lost.aborted ? (owner.lost.reason as unknown) : error;
    if (cause instanceof FencedError) return { kind: "fenced", because: cause.message };
    if (cause instanceof WalDivergedError) return { kind: "diverged", because: cause.message };
    if (cause instanceof ServerRestartedError) return { kind: "server-restarted" };
    if (this.#stop.signal.aborted || signal.aborted) return { kind: "stopped" };
    log.error("the streamer has failed", { because: messageOf(cause) });
    return { kind: "failed", error: cause };
  }

  /** W6: the same server, as many connections as it takes. */
  async #streamForEver(until: AbortSignal): Promise<void> {
    const { log, clock } = this.#options;
    for (let failures = 0; !until.aborted;) {
      this.#move("connecting", "opening the replication connection");
      const began = clock.monotonicMs();
      try {
        if ((await this.#streamOnce(until)) === "shutdown") {
          this.#complete.resolve(true);
          return;
        }
        failures = 0;
      } catch (error) {
        if (until.aborted || !(error instanceof ServerError)) throw error;
        if (this.#draining.signal.aborted) return;
        if (clock.monotonicMs() - began > LIMITS.soundMs) failures = 0;
        failures += 1;
        this.#connectionTrouble.note(error, clock.now());
        const level = failures < 4 ? "info" : "warn";
        log[level]("the replication connection ended", { failures, because: messageOf(error) });
        if (failures > 1) await this.#pause(pauseBefore(failures - 1, RECONNECT), until);
      }
    }
    until.throwIfAborted();
  }

  /** Cut short by a stop: the server is still there to send its last WAL. */
  async #pause(ms: number, until: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const cut = AbortSignal.any([until, this.#draining.signal]);
    await clock.sleep(ms, cut).catch((error: unknown) => {
      if (!this.#draining.signal.aborted) throw error;
    });
  }

  async #streamOnce(until: AbortSignal): Promise<"shutdown" | "again"> {
    const { connect, owner, slot, sql, systemId } = this.#options;
    await using connection = await connect();
    const identity = await connection.identifySystem();
    if (identity.systemId !== systemId) throw new ForeignServerError(identity.systemId, systemId);
    await this.#requireSameStart(until);
    const made = await ensureSlot(sql, slot, { signal: until });
    if (made === "fresh") this.#options.log.info("made the replication slot", { slot });
    await freeSlot(sql, slot, { signal: until });
    this.#slotWalStatus = (await findSlot(sql, slot, { signal: until }))?.walStatus ?? null;
    const { timeline } = lastStep(owner.view.tip!.path);
    const events = connection.start({ slot, timeline, start: owner.streamFrom }, until);
    const reports = new AbortController();
    const reporting = this.#report(connection, AbortSignal.any([until, reports.signal]));
    try {
      return await this.#take(events, connection, timeline, until);
    } catch (error) {
      if (!(error instanceof ServerError) || error.sqlState !== SQLSTATE.undefinedFile) throw error;
      // Only complete segments: the open one, and recycled ones behind it, hold bytes that are no WAL yet.
      await fillGap(this.#options, segmentFloor(identity.flushed, this.#options.segmentBytes));
      return "again";
    } finally {
      this.#connection = null;
      reports.abort();
      await reporting;
    }
  }

  /** W6: the epoch belongs to one start of Postgres. */
  async #requireSameStart(until: AbortSignal): Promise<void> {
    const { startedAtMs } = await serverFacts(this.#options.sql, { signal: until });
    this.#serverStartedMs ??= startedAtMs;
    if (this.#serverStartedMs !== startedAtMs) throw new ServerRestartedError("Postgres was started anew");
  }

  async #take(
    events: AsyncIterable<StreamEvent>,
    connection: ReplicationConnection,
    timeline: number,
    until: AbortSignal,
  ): Promise<"shutdown" | "again"> {
    const { clock } = this.#options;
    let pieces: Uint8Array[] = [];
    let start: Lsn = ZERO_LSN;
    for await (const event of events) {
      if (this.#connection === null) {
        this.#connection = connection;
        this.#connectionTrouble.note(null, clock.now());
        if (!this.#draining.signal.aborted)
          this.#move("streaming", "WAL comes over the replication connection");
      }
      switch (event.kind) {
        case "wal":
          if (pieces.length === 0) start = event.lsn;
          pieces.push(event.bytes);
          break;
        case "messageEnd":
          this.#lag.hear(event.serverEnd, clock.monotonicMs());
          await this.#message(start, timeline, pieces);
          pieces = [];
          break;
        case "keepalive":
          this.#lag.hear(event.serverEnd, clock.monotonicMs());
          if (event.replyRequested) this.#reply(connection, until);
          break;
        case "copyDone":
          if (event.end.kind === "shutdown") return "shutdown";
          // A primary never changes its timeline under a stream; if this one did, it is another server.
          return "again";
      }
    }
    return "again";
  }

  /** One whole message: its end is a record's end or a page boundary, where a slot may end (W5). */
  async #message(start: Lsn, timeline: number, pieces: readonly Uint8Array[]): Promise<void> {
    const { owner, segmentBytes, dataDirectory } = this.#options;
    let bytes = this.#gathered.whole(pieces);
    let at = start;
    // The open segment began anew from a file (A4): what lies below it came from this same server.
    const below = owner.streamFrom - at;
    if (below >= BigInt(bytes.byteLength)) return;
    if (below > 0n) {
      bytes = bytes.subarray(Number(below));
      at = owner.streamFrom;
    }
    const before = owner.streamFrom;
    await owner.append(at, timeline, bytes);
    this.#received = owner.end;
    if (this.#draining.signal.aborted) void this.#flush();
    if (owner.streamFrom === before) return;
    const filled = segmentName({ timeline, number: before / BigInt(segmentBytes) }, segmentBytes);
    this.#command.hashAhead(join(pgWal(dataDirectory), filled));
  }

  /** A keepalive that wants a reply: after what is held is settled. Until then the connection's own heartbeat keeps it alive. */
  #reply(connection: ReplicationConnection, until: AbortSignal): void {
    void this.#flush().then(() => {
      if (!until.aborted) this.#send(connection);
      return null;
    });
  }

  async #flush(): Promise<void> {
    // Its failures end the ownership, which is seen where the ownership is watched.
    await this.#options.owner.flush().catch(() => undefined);
  }

  /** W3: write = flush = apply = the durable position, as it moves. */
  async #report(connection: ReplicationConnection, until: AbortSignal): Promise<void> {
    const { owner, clock, reportMs } = this.#options;
    for await (const durable of owner.positions(until)) {
      this.#lastSettledMs = clock.now();
      this.#firstSegment ??= durable / BigInt(this.#options.segmentBytes);
      this.#send(connection);
      if (reportMs === 0 || this.#draining.signal.aborted) continue;
      await clock.sleep(reportMs, AbortSignal.any([until, this.#draining.signal])).catch(() => undefined);
    }
  }

  #send(connection: ReplicationConnection): void {
    const { durable } = this.#options.owner;
    if (durable === null) return;
    connection.sendStatus({ write: durable, flush: durable, apply: durable });
  }

  #published(durable: Lsn | null, owed: number): number {
    if (durable === null || this.#firstSegment === null) return 0;
    return Math.max(0, Number(durable / BigInt(this.#options.segmentBytes) - this.#firstSegment) - owed);
  }

  #move(phase: StreamerPhase, because: string): void {
    if (this.#draining.signal.aborted) return;
    this.#phase = phase;
    this.#because = because;
  }
}

const RECONNECT = { firstMs: 100, mostMs: 5_000, tries: Infinity } as const;
const LIMITS = {
  /** A connection that lived so long was sound: the next failure is a first one. */
  soundMs: 30_000,
  /** After everything was received, settling may take at least this long. */
  leastSettleMs: 1_000,
  watchMs: 1_000,
} as const;
