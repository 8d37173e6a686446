// May Postgres forget this file? Rules A1 to A6: only what the log accepted and wal_005 holds is let go; nothing goes around the log.

import { readFile } from "node:fs/promises";
import type { Clock } from "../base/clock.ts";
import { messageOf, unreachable } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { PublishConflictError } from "../tail/errors.ts";
import type { LogOwner } from "../tail/owner.ts";
import { type PublishTools, publishObject } from "../tail/publish.ts";
import { sha256 } from "../tail/slot.ts";
import { formatLsn } from "../wal/lsn.ts";
import {
  parseWalName,
  type Segment,
  segmentEnd,
  segmentStart,
  type TimelineId,
} from "../wal/segment-name.ts";
import { leftAt } from "../wal/timeline-path.ts";
import { FileHashes } from "./file-hash.ts";
import { type HookAnswer, type HookRequest, notNow, served } from "./hook-answer.ts";
import { absolutePath } from "./serve-file.ts";

export interface ArchiveCommandOptions {
  readonly owner: LogOwner;
  readonly dataDirectory: string;
  readonly segmentBytes: number;
  readonly publish: PublishTools;
  readonly clock: Clock;
  readonly log: Log;
  /** True while WAL comes over the replication connection; then the rest of a segment comes that way too. */
  readonly isStreaming: () => boolean;
  /** Aborted from SIGINT on: nothing is waited for any more (W8). */
  readonly stopping: AbortSignal;
}

/** Answers for one owner of the log. Exit 0 or 1, never anything else (postgres-facts.md section 10). */
export class ArchiveCommand {
  readonly #options: ArchiveCommandOptions;
  readonly #hashes = new FileHashes();
  readonly #alarms = new Set<string>();

  constructor(options: ArchiveCommandOptions) {
    this.#options = options;
  }

  /** Names that were offered with other bytes than are stored (A3). */
  get alarms(): readonly string[] {
    return [...this.#alarms];
  }

  /** Hashes a segment that was just filled, before Postgres asks about it. Errors are left to the question itself. */
  hashAhead(path: string): void {
    this.#hashes.of(path).catch(() => undefined);
  }

  /** Answers one call of archive_command. Never throws; waits at most `waitMs`. */
  async answer(request: HookRequest, signal: AbortSignal): Promise<HookAnswer> {
    const { owner, log } = this.#options;
    if (owner.lost.aborted) return notNow(`this node lost the log: ${messageOf(owner.lost.reason)}`); // A5
    const { stopping } = this.#options;
    const limit = stopping.aborted
      ? AbortSignal.timeout(LIMITS.stoppingMs)
      : AbortSignal.any([signal, stopping, lateAfter(LIMITS.waitMs)]);
    try {
      return await within(limit, this.#answer(request, limit));
    } catch (error) {
      const because = stopping.aborted
        ? "Postgres is stopping and the log does not hold it yet"
        : messageOf(limit.aborted ? limit.reason : error);
      log.warn("archive_command is answered with 1", { name: request.name, because });
      return notNow(`"${request.name}" is not archived yet: ${because}`);
    }
  }

  async #answer(request: HookRequest, limit: AbortSignal): Promise<HookAnswer> {
    const meaning = parseWalName(request.name, this.#options.segmentBytes);
    switch (meaning?.kind) {
      case "segment":
        return await this.#segment(meaning.segment, request, limit);
      case "history":
        return await this.#history(meaning.timeline, request);
      case "partial":
        return this.#partial(meaning.segment, request);
      case "backup":
        return await this.#backup(request, limit);
      case undefined:
      default:
        return notNow(`"${request.name}" is no file that Postgres archives`);
    }
  }

  async #segment(segment: Segment, request: HookRequest, limit: AbortSignal): Promise<HookAnswer> {
    const { owner, segmentBytes, isStreaming, stopping } = this.#options;
    const { name } = request;
    const behind = this.#leftBehind(segment, name);
    if (behind !== null) return behind;
    const file = await this.#hashes.of(this.#path(request));
    if (file.bytes !== segmentBytes) return notNow(`"${name}" has ${file.bytes} of ${segmentBytes} bytes`);
    // At a stop the last segment is just coming: a moment's wait spares the two seconds that a 1 costs Postgres there. A store that is
    // in trouble is not waited for.
    if (!stopping.aborted || owner.health.trouble === null) {
      if (this.#isAwaited(segment)) {
        if (isStreaming()) await this.#whenAccepted(segment, limit);
        else if (!stopping.aborted) await this.#appendFrom(segment, request);
      }
      const { conflict } = owner.health;
      if (conflict !== null) return notNow(conflict.message);
      await owner.whenPublished(segment, limit); // A2; at once when nothing is owed
    }
    const known = await owner.isAccepted(segment, file.sha256);
    switch (known.kind) {
      case "durable":
        return served(`"${name}" is durable`); // A1
      case "different":
        return this.#alarm(name); // A3
      case "unpublished":
        return notNow(`"${name}" is in the log and not published yet`);
      case "missing":
        return notNow(`the log goes on at ${formatLsn(owner.end)}, "${name}" is not in it`);
      default:
        return unreachable(known);
    }
  }

  /**
   * A6, for a file that lost its `.partial`: a standby that changed its timeline keeps the last segment of the one before under its own name,
   * and Postgres offers it once the node leads. The log will never hold more of that timeline than up to its fork; answered with 1, the
   * file would keep every later one waiting for ever. Null for a segment that lies on the path as a whole, or may yet come.
   */
  #leftBehind(segment: Segment, name: string): HookAnswer | null {
    const { owner, segmentBytes } = this.#options;
    const left = leftAt(owner.view.tip?.path ?? [], segment.timeline);
    const isWhole = left !== null && left >= segmentEnd(segment, segmentBytes);
    return isWhole ? null : this.#ofFormerTimeline(segment.timeline, name);
  }

  /** Null unless the log is on a later timeline. */
  #ofFormerTimeline(timeline: TimelineId, name: string): HookAnswer | null {
    const { tip } = this.#options.owner.view;
    if (tip === null || timeline >= tip.timeline) return null;
    const left = leftAt(tip.path, timeline);
    const holds =
      left === null
        ? `the log's path has no timeline ${timeline}`
        : `the log holds timeline ${timeline} up to its fork at ${formatLsn(left)}`;
    return served(`${holds}, "${name}" is not needed`);
  }

  /** On the log's timeline and ending behind what the log settled: it will come, or can be appended. */
  #isAwaited(segment: Segment): boolean {
    const { owner, segmentBytes } = this.#options;
    const { tip } = owner.view;
    return tip !== null && tip.timeline === segment.timeline && tip.end < segmentEnd(segment, segmentBytes);
  }

  async #whenAccepted(segment: Segment, limit: AbortSignal): Promise<void> {
    for await (const _ of this.#options.owner.positions(limit)) if (!this.#isAwaited(segment)) return;
    limit.throwIfAborted();
  }

  /** A4: the replication connection is down, and this is the log's next segment. The junction compare is the writer's own (W5). */
  async #appendFrom(segment: Segment, request: HookRequest): Promise<void> {
    const { owner, segmentBytes } = this.#options;
    const start = segmentStart(segment, segmentBytes);
    if (owner.streamFrom !== start) return;
    const bytes = await readFile(this.#path(request));
    await owner.append(start, segment.timeline, bytes);
    await owner.flush();
  }

  /** A6: once accepted with these bytes; of a timeline that the path went past without, nothing is wanted. */
  async #history(timeline: TimelineId, request: HookRequest): Promise<HookAnswer> {
    const accepted = this.#options.owner.view.histories.get(timeline);
    if (accepted === undefined)
      return (
        this.#ofFormerTimeline(timeline, request.name) ??
        notNow(`the log has not accepted timeline ${timeline}`)
      );
    const bytes = await readFile(this.#path(request));
    if (sha256(bytes) !== accepted.sha256) return this.#alarm(request.name);
    return served(`the log accepted "${request.name}"`);
  }

  /** A6: nothing is stored from the file; the owner publishes what the log accepted of the timeline that was left. */
  #partial({ timeline }: Segment, { name }: HookRequest): HookAnswer {
    return this.#ofFormerTimeline(timeline, name) ?? notNow(`the log has not left timeline ${timeline}`);
  }

  /** A6: the owner's, create-only, compared when it is there. */
  async #backup(request: HookRequest, limit: AbortSignal): Promise<HookAnswer> {
    const bytes = await readFile(this.#path(request));
    try {
      await publishObject(request.name, bytes, false, { ...this.#options.publish, signal: limit });
    } catch (error) {
      if (error instanceof PublishConflictError) return this.#alarm(request.name);
      throw error;
    }
    return served(`stored "${request.name}"`);
  }

  #alarm(name: string): HookAnswer {
    if (!this.#alarms.has(name)) {
      this.#alarms.add(name);
      this.#options.log.error("archive_command brings other bytes than are stored; nothing was overwritten", {
        name,
      });
    }
    return notNow(`"${name}" is stored with other bytes; nothing was overwritten`);
  }

  #path(request: HookRequest): string {
    return absolutePath(request.path, this.#options.dataDirectory);
  }
}

function lateAfter(ms: number): AbortSignal {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`the store did not confirm it within ${ms} ms`)), ms);
  timer.unref();
  return late.signal;
}

/** The result of `work`, or the signal's reason when that comes first; the work then goes on unheard. */
async function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason as Error);
  signal.addEventListener("abort", stop, { once: true });
  try {
    signal.throwIfAborted();
    return await Promise.race([work, over]);
  } finally {
    signal.removeEventListener("abort", stop);
    work.catch(() => undefined);
  }
}

const LIMITS = {
  /** Past this Postgres is told to ask again: a slow answer costs at a stop, a 1 does not. */
  waitMs: 8_000,
  stoppingMs: 1_500,
} as const;
