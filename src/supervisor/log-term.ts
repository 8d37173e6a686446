// The log in one term: the fence is ours, the junction is decided, and then the streamer carries WAL until the term ends.

import { unreachable } from "../base/errors.ts";
import { readSourceLog } from "../archive/archive-source.ts";
import { joinLog } from "../archive/join-log.ts";
import { answerArchive, startStreamer, type Streamer } from "../archive/streamer.ts";
import type { StreamerBeginning, StreamerEnd } from "../archive/streamer-options.ts";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ControlFile } from "../postgres/control-file.ts";
import { connectReplication } from "../postgres/replication-connection.ts";
import { ReconnectingSql } from "../postgres/sql.ts";
import { localPath } from "../archive/local-wal.ts";
import { planGenesis } from "../tail/genesis.ts";
import { publishObject } from "../tail/publish.ts";
import type { LogView } from "../tail/read.ts";
import { decideJunction, type Junction } from "../tail/junction.ts";
import { LogOwner } from "../tail/owner.ts";
import { DEFAULT_RHYTHM } from "../tail/owner-options.ts";
import type { NewTimeline } from "../tail/writer.ts";
import { takeOverAfter } from "../tail/succession.ts";
import { type Claim, takeOver, type TakeOverOptions } from "../tail/take-over.ts";
import { type Lsn, lsnOf } from "../wal/lsn.ts";
import { historyName, segmentAt, segmentName, segmentStart } from "../wal/segment-name.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import { backUp } from "./backups.ts";
import type { Verbs } from "./front.ts";
import { readSuccessor } from "./giving-up.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";

/** Ids of the promotions that made the volume's timeline and its parent's (G4); 32 zeros without one. */
export interface PromotionIds {
  readonly promotion: string;
  readonly parentPromotion: string;
}

/** What a promotion brings to the log. */
export interface Brought {
  readonly change: NewTimeline;
  /** The parent's bytes that the log lacks. */
  readonly backfill: { readonly from: Lsn; readonly to: Lsn } | null;
  /** The archive had no log of ours: it begins with this timeline (L8). */
  readonly isGenesis: boolean;
}

interface LogTermParts {
  readonly node: NodeContext;
  readonly claim: Claim;
  readonly owner: LogOwner;
  readonly control: ControlFile;
  readonly path: TimelinePath;
  readonly junction: Junction;
  readonly promotion: string;
  /** Known already when this process promoted; else read from pg_wal. */
  readonly change: NewTimeline | null;
  readonly ended: AbortController;
}

export class LogTerm implements AsyncDisposable {
  readonly junction: Junction;
  readonly #node: NodeContext;
  readonly #claim: Claim;
  readonly #owner: LogOwner;
  readonly #control: ControlFile;
  readonly #path: TimelinePath;
  readonly #promotion: string;
  readonly #change: NewTimeline | null;
  readonly #ended = new AbortController();
  readonly #lost = new AbortController();
  readonly #over = new AbortController();
  #streamer: Streamer | null = null;
  #cleanUp: (() => void)[] = [];
  #sql: ReconnectingSql | null = null;

  constructor(parts: LogTermParts) {
    this.#node = parts.node;
    this.#claim = parts.claim;
    this.#owner = parts.owner;
    this.#control = parts.control;
    this.#path = parts.path;
    this.junction = parts.junction;
    this.#promotion = parts.promotion;
    this.#change = parts.change;
    this.#ended = parts.ended;
    parts.owner.lost.addEventListener("abort", () => this.#lost.abort(parts.owner.lost.reason), {
      once: true,
    });
  }

  /** The term of a server that was just promoted behind this claim (S2): its history slot is owed. */
  static bringing(
    node: NodeContext,
    claim: Claim,
    control: ControlFile,
    path: TimelinePath,
    { change, backfill, isGenesis }: Brought,
  ): LogTerm {
    const { owner, ended } = makeOwner(node, claim);
    const because = `promoted to timeline ${change.timeline}`;
    const junction: Junction = isGenesis
      ? { kind: "genesis", because }
      : { kind: "bring", fork: change.fork, backfill, because };
    return new LogTerm({
      node,
      claim,
      owner,
      ended,
      control,
      path,
      junction,
      promotion: change.promotion,
      change,
    });
  }

  get timeline(): number {
    return lastStep(this.#path).timeline;
  }

  get claim(): Claim {
    return this.#claim;
  }

  /** The first position that is not settled: a newer fence would stand here. */
  get firstFree(): number {
    return this.#owner.view.firstFree;
  }

  /** Up to where the store has the WAL; null while nothing may be reported. */
  get durable(): Lsn | null {
    return this.#owner.durable;
  }

  /** Aborts when this process lost the log, or the streamer failed for good (T7). */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Aborts when the streamer ended and another start of Postgres may mend it. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** This node must not lead: as if the log were lost (T6, S3). */
  giveUp(because: string): void {
    this.#lost.abort(new Error(because));
  }

  /** Starts the streamer on a server that takes connections; archive_command is answered from now on. */
  async attach(verbs: Verbs, ended: AbortSignal): Promise<void> {
    const { settings, postgres, clock, log, random, store, codec, paths, state } = this.#node;
    const address = await postgres.address("holdfast");
    this.#sql = new ReconnectingSql(address);
    const { fencing } = this.#claim;
    const streamer = startStreamer({
      owner: this.#owner,
      beginning: await this.#beginning(),
      systemId: this.#control.systemId,
      segmentBytes: this.#control.segmentBytes,
      dataDirectory: paths.dataDirectory,
      publish: { store, codec, fencing, clock, log, random, signal: this.#ended.signal },
      connect: () => connectReplication(address, { clock }),
      sql: this.#sql,
      slot: settings.slot,
      reportMs: 1_000,
      clock,
      log,
      signal: this.#ended.signal,
      onGap: () => void backUp(this.#node, this, ended).catch(() => undefined),
    });
    this.#streamer = streamer;
    this.#cleanUp.push(
      verbs.set("archive", async ([name = "", path = ""], signal) => {
        const { exit, sentence } = await answerArchive(streamer, { name, path }, signal);
        return { exit, lines: exit === 0 ? [] : [sentence] };
      }),
    );
    state.ask({ streamer: () => streamer.status() });
    void streamer.ended.then((end) => this.#noteEnd(end));
  }

  /** Resolves once clients may be let in as far as the log is concerned (G5). */
  async accepted(signal: AbortSignal): Promise<void> {
    await Promise.race([this.#streamer?.doors, abortedBy(signal)]);
  }

  /** Resolves once the WAL below `end` is accepted and its complete segments stand in wal_005. */
  async stored(end: Lsn, signal: AbortSignal): Promise<void> {
    for await (const durable of this.#owner.positions(signal)) if (durable >= end) break;
    signal.throwIfAborted();
    await this.#owner.whenAllPublished(signal);
  }

  /** A stop of Postgres begins: call it before SIGINT. Resolves when everything is in the store, or `limitMs` is over. */
  async drain(limitMs: number): Promise<void> {
    const { log } = this.#node;
    if (this.#streamer === null) return;
    const outcome = await this.#streamer.drain(limitMs);
    log[outcome.settled ? "info" : "warn"]("the last WAL was sent to the store", { ...outcome });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#cleanUp.splice(0)) undo();
    this.#node.state.ask({ streamer: () => null });
    await this.#streamer?.stop();
    await this.#owner.close();
    await this.#sql?.[Symbol.asyncDispose]();
    this.#ended.abort(new Error("the term is over"));
  }

  #noteEnd(end: StreamerEnd): void {
    if (end.kind === "stopped" || end.kind === "server-restarted")
      this.#over.abort(new Error(SENTENCES[end.kind]));
    else if (end.kind === "failed") this.#over.abort(end.error);
    else this.#lost.abort(new Error(end.because));
  }

  async #beginning(): Promise<StreamerBeginning> {
    const { junction } = this;
    switch (junction.kind) {
      case "continue":
        return { kind: "continue" };
      case "genesis":
        return { kind: "genesis", genesis: await this.#genesis() };
      case "bring":
        return await this.#bring(junction);
      case "suspect":
        throw new Error(`a suspect streams nothing: ${junction.because}`);
      default:
        return unreachable(junction);
    }
  }

  async #genesis(): Promise<Extract<StreamerBeginning, { kind: "genesis" }>["genesis"]> {
    const { store, codec } = this.#node;
    const { segmentBytes } = this.#control;
    await this.#publishHistories();
    return await planGenesis(store, {
      segmentBytes,
      path: this.#path,
      promotion: this.#promotion,
      firstLocal: await this.#firstUnarchived(),
      isSuccessor: (await readSuccessor(this.#node.paths)) !== null,
      cipher: codec.cipher,
      signal: this.#ended.signal,
    });
  }

  /** What wal_005 holds before genesis counts as accepted (L8): the histories of this path belong there, or no restore could name it. */
  async #publishHistories(): Promise<void> {
    const { store, codec, clock, log, random, paths } = this.#node;
    const tools = {
      store,
      codec,
      fencing: this.#claim.fencing,
      clock,
      log,
      random,
      signal: this.#ended.signal,
    };
    for (const { timeline } of this.#path) {
      if (timeline === 1) continue;
      const body = await readFile(join(paths.dataDirectory, "pg_wal", historyName(timeline)));
      await publishObject(historyName(timeline), body, true, tools);
    }
  }

  /** The segment of REDO, or an earlier one from which on Postgres still wants all to be archived. A backup that follows needs nothing below. */
  async #firstUnarchived(): Promise<Lsn> {
    const { segmentBytes, redo } = this.#control;
    const folder = join(this.#node.paths.dataDirectory, "pg_wal", "archive_status");
    const waiting = new Set(await readdir(folder).catch(() => []));
    let first = segmentAt(this.timeline, redo, segmentBytes);
    for (;;) {
      const before = { ...first, number: first.number - 1n };
      if (before.number < 0n || !waiting.has(`${segmentName(before, segmentBytes)}.ready`)) break;
      first = before;
    }
    return segmentStart(first, segmentBytes);
  }

  async #bring(junction: Extract<Junction, { kind: "bring" }>): Promise<StreamerBeginning> {
    const { timeline } = this;
    const folder = join(this.#node.paths.dataDirectory, "pg_wal");
    const parentPath = this.#path.slice(0, -1);
    return {
      kind: "bring",
      backfill: junction.backfill,
      parentPath,
      change: this.#change ?? {
        timeline,
        parent: lastStep(parentPath).timeline,
        fork: junction.fork,
        promotion: this.#promotion,
        cut: false,
        body: await readFile(join(folder, historyName(timeline))),
      },
    };
  }
}

/**
 * Takes the log over and decides the junction. Repeats until the signal aborts while the store does not answer. What `known` holds is not read
 * again. `refuses`: no fence is put, and TakeOverRefusedError thrown, once another node's history has left this volume behind.
 */
export async function startLogTerm(
  node: NodeContext,
  control: ControlFile,
  ids: PromotionIds,
  signal: AbortSignal,
  { known = null, refuses = false }: { readonly known?: LogView | null; readonly refuses?: boolean } = {},
): Promise<LogTerm> {
  const { settings, store, codec, clock, log, random, paths } = node;
  const fencing = await node.fencing(signal);
  const options: TakeOverOptions = {
    identity: { systemId: control.systemId, segmentBytes: control.segmentBytes },
    purpose: "start",
    node: settings.nodeName,
    fencing,
    cipher: codec.cipher,
    clock,
    log,
    signal,
    random,
    known,
  };
  const former = await readSuccessor(paths);
  const claim =
    former === null
      ? await takeOver(store, refuses ? { ...options, objection: await foresight(node, ids) } : options)
      : await takeOverAfter(store, former, options);
  const { owner, ended } = makeOwner(node, claim);
  const joined = await joinLog({ owner, dataDirectory: paths.dataDirectory, members: [], ...ids });
  return new LogTerm({
    node,
    claim,
    owner,
    control,
    ended,
    ...joined,
    promotion: ids.promotion,
    change: null,
  });
}

/**
 * What the log says of this volume before anybody is fenced: the sentence of a suspect, or null when only the junction itself can tell. A volume
 * that another node's history has left behind must not disturb that node with a fence.
 */
export async function foreseeSuspect(
  node: NodeContext,
  control: ControlFile,
  ids: PromotionIds,
  signal: AbortSignal,
): Promise<string | null> {
  if ((await readSuccessor(node.paths)) !== null) return null;
  const view = await readSourceLog(sourceOf(node, control.systemId, control.segmentBytes), signal);
  return view === null ? null : (await foresight(node, ids))(view);
}

/** The junction with this volume, as if its WAL went on for ever and agreed: what is suspect even so is suspect. */
async function foresight(
  { paths }: NodeContext,
  ids: PromotionIds,
): Promise<(view: LogView) => string | null> {
  const path = await localPath(paths.dataDirectory);
  const hopeful = { path, walkedTo: LAST_LSN, bytes: "equal", ...ids } as const;
  return (view) => {
    const junction = decideJunction({ log: view, recordEnd: null }, hopeful, []);
    return junction.kind === "suspect" ? junction.because : null;
  };
}

/** An owner of the log for this claim; it has not begun. */
export function makeOwner(node: NodeContext, claim: Claim): { owner: LogOwner; ended: AbortController } {
  const { settings, store, codec, clock, log, random } = node;
  const ended = new AbortController();
  const rhythm = { ...DEFAULT_RHYTHM, flushMs: settings.flushMs };
  const owner = new LogOwner({ claim, store, codec, clock, log, random, signal: ended.signal, ...rhythm });
  return { owner, ended };
}

const LAST_LSN = lsnOf((1n << 63n) - 1n);
const SENTENCES = {
  stopped: "the streamer was stopped",
  "server-restarted": "the server restarted itself after one of its processes crashed",
} as const;

async function abortedBy(signal: AbortSignal): Promise<never> {
  return await new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
