// Serves what recovery asks for (R3, R4): checked, fsynced, renamed; exit 0, 1, 255. One object for a recovery, or for a standby's life.

import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { type Backoff, retry } from "../base/retry.ts";
import { StoreError } from "../storage/object-store.ts";
import { LogDamagedError, StaleViewError, WalGapError } from "../tail/errors.ts";
import type { LogView } from "../tail/read.ts";
import {
  historyName,
  nextSegment,
  parseWalName,
  type Segment,
  segmentName,
  type TimelineId,
} from "../wal/segment-name.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import {
  type HistoryKnowledge,
  judgeHistory,
  judgeSegment,
  type SegmentFound,
  type Situation,
} from "./answer.ts";
import { catalogOf, historyKnowledge, pathTo, readSourceLog, readStoredHistory } from "./archive-source.ts";
import { segmentOwner } from "./gaps.ts";
import { type HookAnswer, type HookRequest, inDoubt, notNow, served } from "./hook-answer.ts";
import { ListedAhead } from "./listed-ahead.ts";
import { compareLocalCopy } from "./local-copy.ts";
import { PathReader } from "./path-reader.ts";
import { Prefetch } from "./prefetch.ts";
import { absolutePath, serveBytes, serveSpooled } from "./serve-file.ts";
import type { RestoreCommandOptions, RestoreCommandStatus } from "./restore-status.ts";
import { checkHistory, isDamagedObject } from "./wal-file-check.ts";

interface Sight {
  readonly view: LogView | null;
  readonly path: TimelinePath;
  readonly known: HistoryKnowledge | null;
  readonly atMs: number;
}

export class RestoreCommand {
  readonly #options: RestoreCommandOptions;
  readonly #catalog;
  readonly #listed: ListedAhead;
  readonly #prefetch: Prefetch;
  readonly #alarms = new Set<string>();
  #situation: Situation;
  #sight: Sight | null = null;
  #looking: Promise<Sight> | null = null;
  #isFrozen = false;
  #absentWhileFrozen = new Set<string>();
  #status = { segmentsServed: 0, fromSpool: 0, lastServed: null as string | null };
  #repeats: RestoreCommandStatus["repeats"] = null;
  #lastAbsent: RestoreCommandStatus["lastAbsent"] = null;
  #doubt: RestoreCommandStatus["doubt"] = null;

  constructor(options: RestoreCommandOptions) {
    this.#options = options;
    this.#situation = options.situation;
    this.#catalog = catalogOf(options.source);
    this.#listed = new ListedAhead(options.source);
    this.#prefetch = new Prefetch({
      spool: options.spool,
      segmentBytes: options.source.segmentBytes,
      fetch: (segment, signal) => this.#fetchAhead(segment, signal),
      next: (segment) => this.#nextListed(segment),
      signal: options.signal,
      log: options.source.log,
    });
  }

  status(): RestoreCommandStatus {
    return {
      ...this.#status,
      situation: this.#situation,
      repeats: this.#repeats,
      lastAbsent: this.#lastAbsent,
      doubt: this.#doubt,
      alarms: [...this.#alarms],
      prefetchDepth: this.#prefetch.depth,
    };
  }

  /** The gate asks for the rest (`catch-up`), or a standby goes back to waiting. */
  setSituation(situation: Situation): void {
    this.#situation = situation;
  }

  /** From now on the answers come from this view and do not change, until the promotion is over (R3 e). */
  async freeze(view: LogView | null): Promise<void> {
    const { source, signal } = this.#options;
    const path = await this.#pathIn(view, signal);
    const known = await historyKnowledge(view, path, source, signal);
    this.#sight = { view, path, known, atMs: source.clock.monotonicMs() };
    this.#absentWhileFrozen = new Set();
    this.#isFrozen = true;
  }

  thaw(): void {
    this.#isFrozen = false;
  }

  /** Answers one call of restore_command. Never throws. */
  async answer(request: HookRequest, signal: AbortSignal): Promise<HookAnswer> {
    const { source } = this.#options;
    const all = AbortSignal.any([signal, this.#options.signal]);
    const { clock, log } = source;
    const patience = this.#situation === "restore" ? (this.#options.patience ?? PATIENCE) : STANDBY_PATIENCE;
    try {
      const tools = { clock, log, signal: all };
      const answer = await retry(
        `restore ${request.name}`,
        () => this.#answer(request, all),
        isPassing,
        patience,
        tools,
      );
      this.#doubt = null;
      return answer;
    } catch (error) {
      return this.#doubtful(request.name, error);
    }
  }

  /** Removes the look-ahead's files. */
  async close(): Promise<void> {
    await this.#prefetch.clear();
  }

  async #answer({ name, path }: HookRequest, signal: AbortSignal): Promise<HookAnswer> {
    const { segmentBytes } = this.#options.source;
    const meaning = parseWalName(name, segmentBytes);
    const target = absolutePath(path, this.#options.dataDirectory);
    if (meaning?.kind === "history") return await this.#history(meaning.timeline, target, signal);
    if (meaning?.kind === "segment") return await this.#segment(meaning.segment, target, signal);
    return this.#absent(name, "recovery has no use for a file of this name");
  }

  async #segment(segment: Segment, target: string, signal: AbortSignal): Promise<HookAnswer> {
    const { source, dataDirectory } = this.#options;
    const name = segmentName(segment, source.segmentBytes);
    if (this.#isFrozen && this.#absentWhileFrozen.has(name))
      return this.#absent(name, "it was absent before");
    // A standby's path may have changed: what was fetched ahead for another one is forgotten here.
    const sight = await this.#look(this.#situation === "restore" ? Infinity : VIEW_AGE_MS);
    const spooled = await this.#prefetch.take(segment);
    if (spooled !== null) {
      await serveSpooled(spooled, target);
      this.#status.fromSpool += 1;
      return this.#served(name, segment);
    }
    const found = await this.#find(segment, sight, signal);
    const local =
      found.kind === "partial" && this.#situation === "catch-up"
        ? await compareLocalCopy(join(dataDirectory, "pg_wal", name), segment, found, source)
        : null;
    const verdict = judgeSegment(found, this.#situation, local);
    if (verdict.kind === "absent") {
      if (verdict.alarm) this.#alarm(`segment "${name}": ${verdict.because}`);
      return this.#absent(name, verdict.because);
    }
    await serveBytes((found as { bytes: Uint8Array }).bytes, target);
    return this.#served(name, found.kind === "complete" ? segment : null);
  }

  /** With the view that is at hand while wal_005 has it; else with one that is fresh enough (R3 b). */
  async #find(segment: Segment, sight: Sight, signal: AbortSignal): Promise<SegmentFound> {
    const stored = await this.#reader(sight)
      .stored(segment, signal)
      .catch((error: unknown) => {
        if (!isDamagedObject(error)) throw error;
        return null; // perhaps the log has it; if not, the error comes again
      });
    if (stored !== null) return stored;
    const fresh = await this.#look(VIEW_AGE_MS);
    try {
      return await this.#reader(fresh).segment(segment, signal);
    } catch (error) {
      if (!(error instanceof StaleViewError) || this.#isFrozen) throw error;
      return await this.#reader(await this.#look(0)).segment(segment, signal);
    }
  }

  async #history(timeline: TimelineId, target: string, signal: AbortSignal): Promise<HookAnswer> {
    const { source } = this.#options;
    const name = historyName(timeline);
    if (this.#isFrozen && this.#absentWhileFrozen.has(name))
      return this.#absent(name, "it was absent before");
    const { view, path, known } = await this.#look(VIEW_AGE_MS);
    const verdict = judgeHistory(timeline, path, known);
    if (verdict.kind === "absent") return this.#absent(name, verdict.because);
    if (verdict.kind === "empty") return await this.#serveHistory(name, new Uint8Array(0), target);
    const accepted = verdict.kind === "accepted" ? view!.histories.get(timeline)! : null;
    const bytes =
      accepted?.body ?? (await readStoredHistory(timeline, source, signal, accepted?.sha256 ?? null));
    if (bytes !== null) {
      checkHistory(bytes, name, timeline);
      return await this.#serveHistory(name, bytes, target);
    }
    if (accepted !== null)
      throw new StoreError("unknown", `"${name}" was accepted by the log and is not in wal_005`);
    return verdict.kind === "stored" && verdict.otherwise === "empty"
      ? await this.#serveHistory(name, new Uint8Array(0), target)
      : this.#absent(name, "a listing shows no object of it");
  }

  async #serveHistory(name: string, bytes: Uint8Array, target: string): Promise<HookAnswer> {
    await serveBytes(bytes, target);
    return served(
      bytes.byteLength === 0 ? `"${name}" stands for a hole among the timelines` : `served "${name}"`,
    );
  }

  /** The log and the path, not older than `ageMs`; the frozen ones while frozen. */
  async #look(ageMs: number): Promise<Sight> {
    const sight = this.#sight;
    const now = this.#options.source.clock.monotonicMs();
    if (sight !== null && (this.#isFrozen || now - sight.atMs < ageMs)) return sight;
    this.#looking ??= this.#lookAgain().finally(() => {
      this.#looking = null;
    });
    return await this.#looking;
  }

  /** Under the recovery's signal: a client that hangs up must not take the answer from the others. */
  async #lookAgain(): Promise<Sight> {
    const { source, signal } = this.#options;
    const atMs = source.clock.monotonicMs();
    const before = this.#sight;
    const view = await readSourceLog(source, signal, before?.view ?? null);
    const path = await this.#pathIn(view, signal);
    if (this.#isFrozen && this.#sight !== null) return this.#sight;
    if (before !== null && before.path.length !== path.length) await this.#prefetch.clear();
    const known = await historyKnowledge(view, path, source, signal);
    this.#sight = { view, path, known, atMs };
    return this.#sight;
  }

  async #pathIn(view: LogView | null, signal: AbortSignal): Promise<TimelinePath> {
    const { target, source } = this.#options;
    return target === "latest" ? await pathTo("latest", view, source, signal) : target;
  }

  #reader({ view, path }: Sight): PathReader {
    return new PathReader(this.#options.source, view, path, this.#catalog);
  }

  async #fetchAhead(segment: Segment, signal: AbortSignal): Promise<Uint8Array | null> {
    const sight = this.#sight;
    if (sight === null) return null;
    const found = await this.#reader(sight).stored(segment, signal);
    return found?.kind === "complete" ? found.bytes : null;
  }

  #nextOnPath(segment: Segment): Segment | null {
    const path = this.#sight?.path;
    if (path === undefined) return null;
    const { number } = nextSegment(segment);
    return { timeline: segmentOwner(path, number, this.#options.source.segmentBytes), number };
  }

  #nextListed(segment: Segment): Segment | null {
    const next = this.#nextOnPath(segment);
    return next !== null && this.#listed.has(next) ? next : null;
  }

  async #lookAhead(segment: Segment): Promise<void> {
    const { signal, source } = this.#options;
    const next = this.#nextOnPath(segment);
    if (next === null || signal.aborted) return;
    try {
      await this.#listed.cover(next, signal);
      this.#prefetch.after(segment);
    } catch (error) {
      source.log.debug("nothing is fetched ahead", { because: messageOf(error) });
    }
  }

  /** `complete`: recovery goes on from here; an open segment is the end. */
  #served(name: string, complete: Segment | null): HookAnswer {
    this.#status.segmentsServed += 1;
    this.#status.lastServed = name;
    const times = this.#repeats?.name === name ? this.#repeats.times + 1 : 1;
    this.#repeats = complete === null ? null : { name, times };
    if (complete !== null) void this.#lookAhead(complete);
    return served(`served "${name}"`);
  }

  #absent(name: string, because: string): HookAnswer {
    if (this.#isFrozen) this.#absentWhileFrozen.add(name);
    this.#lastAbsent = { name, because };
    return notNow(`"${name}" is not there: ${because}`);
  }

  /**
   * A restore stops rather than promote short of the truth. A standby waits on 1 and asks again (255 would end it, and with it the readers on
   * it, at every outage of the store); it never promotes by itself, and the gate compares its end with the log's (G2).
   */
  #doubtful(name: string, error: unknown): HookAnswer {
    const { clock, log } = this.#options.source;
    const because = messageOf(error);
    const isDamage =
      isDamagedObject(error) || error instanceof LogDamagedError || error instanceof WalGapError;
    this.#doubt = { name, because, atMs: clock.now(), isDamage };
    log.error("recovery asked for a file and the archive leaves a doubt", { name, because });
    const sentence = `"${name}" is in doubt: ${because}`;
    return this.#situation === "restore" ? inDoubt(sentence) : notNow(sentence);
  }

  #alarm(sentence: string): void {
    if (this.#alarms.has(sentence)) return;
    this.#alarms.add(sentence);
    this.#options.source.log.error("the local WAL is not the log's", { because: sentence });
  }
}

/** The published entry for the socket: `restore NAME PATH`. */
export const answerRestore = (
  command: RestoreCommand,
  request: HookRequest,
  signal: AbortSignal,
): Promise<HookAnswer> => command.answer(request, signal);

const isPassing = (error: unknown): boolean => error instanceof StoreError && error.kind === "unknown";

/** A standby may keep what it saw of the log for so long (protocol section 14). */
const VIEW_AGE_MS = 1_000;
const PATIENCE: Backoff = { firstMs: 200, mostMs: 5_000, tries: 40, totalMs: 60_000 };
const STANDBY_PATIENCE: Backoff = { firstMs: 200, mostMs: 1_000, tries: 2, totalMs: 2_000 };
