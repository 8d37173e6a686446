// `wal-g wal-receive`: streams WAL over the replication protocol and archives whole segments, in place of archive_command.

import { AppError, messageOf } from "../../base/errors.ts";
import { pauseBefore } from "../../base/retry.ts";
import type { ReplicationConnection } from "../../postgres/replication-connection.ts";
import type { StreamEvent } from "../../postgres/replication-types.ts";
import { bytesBetween, formatLsn, type Lsn } from "../../wal/lsn.ts";
import {
  historyName,
  type Segment,
  segmentAt,
  segmentEnd,
  segmentFloor,
  segmentName,
  segmentStart,
  type TimelineId,
} from "../../wal/segment-name.ts";
import { parseHistory } from "../../wal/timeline-history.ts";
import { ownerAt, pathOfHistory } from "../../wal/timeline-path.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { UsageError } from "./flags.ts";
import { hasTailLog } from "./st-objects.ts";
import { pushWalBytes, type WalPushTools } from "./wal-push-file.ts";

export const WAL_RECEIVE: WalgCommand = {
  path: "wal-receive",
  summary: "Receive WAL stream with postgres Streaming Replication Protocol and push to storage",
  use: "wal-receive",
  examples: ["WALG_SLOTNAME=archive wal-g wal-receive"],
  flags: [],
  check: argumentCount(0, 0),
  run: receive,
};

/** Runs until it is stopped; a lost connection is opened again. */
async function receive(call: Call): Promise<number> {
  const { settings, signal, log, clock } = call;
  const slot = settings.text("WALG_SLOTNAME") ?? "walg";
  if (!/^\w{1,63}$/.test(slot)) throw new UsageError(`WALG_SLOTNAME: "${slot}" is no name of a slot`);
  if (await hasTailLog(await call.openStore(), signal)) {
    throw new AppError(
      "this prefix has a tail log: its owner streams already, to the byte and not to the segment",
      {
        code: "TAIL_LOG",
        hint: "stop this wal-receive; `holdfast status` shows the stream",
      },
    );
  }
  const { walPushTools } = await import("./wal-push.ts");
  const tools = await walPushTools(call);
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    const begunMs = clock.monotonicMs();
    try {
      await receiveOnce(call, slot, tools);
      attempt = 0;
    } catch (error) {
      if (signal.aborted) break;
      if (error instanceof AppError && error.code === "WAL_CONFLICT") throw error;
      if (clock.monotonicMs() - begunMs > STEADY_MS) attempt = 1;
      const pauseMs = pauseBefore(attempt, { firstMs: 500, mostMs: 15_000, tries: Infinity });
      log.warn("the stream broke and is opened again", { because: messageOf(error), pauseMs });
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }
  log.info("stopped; the open segment comes again at the next start");
  return 0;
}

/** One connection, over as many timelines as the server goes through. */
async function receiveOnce(call: Call, slot: string, tools: WalPushTools): Promise<void> {
  const { serverOf } = await import("./server.ts");
  const { connectReplication } = await import("../../postgres/replication-connection.ts");
  await using connection = await connectReplication(await serverOf(call.settings), { clock: call.clock });
  await checkSegmentSize(connection, tools.segmentBytes);
  let at = await startPosition(connection, slot, tools);
  for (;;) {
    const next = await receiveTimeline(connection, slot, at, tools);
    if (next === null) return;
    at = next;
  }
}

interface Place {
  readonly timeline: TimelineId;
  readonly start: Lsn;
}

async function checkSegmentSize(connection: ReplicationConnection, segmentBytes: number): Promise<void> {
  const text = await connection.show("wal_segment_size");
  const match = /^(\d+)(MB|GB)$/.exec(text);
  const bytes = match === null ? 0 : Number(match[1]) * (match[2] === "GB" ? 1 << 30 : 1 << 20);
  if (bytes === segmentBytes) return;
  throw new UsageError(`the server's segments have ${text}`, "set WALG_PG_WAL_SIZE to that many MiB");
}

/** Where the slot stands, on the timeline that owns that position. */
async function startPosition(
  connection: ReplicationConnection,
  slot: string,
  tools: WalPushTools,
): Promise<Place> {
  const { timeline, flushed } = await connection.identifySystem();
  let known = await connection.readSlot(slot);
  if (known === null) {
    await connection.createSlot(slot);
    tools.log.info(`created the replication slot "${slot}"`);
    known = await connection.readSlot(slot);
  }
  const start = segmentFloor(known?.restart ?? flushed, tools.segmentBytes);
  if (timeline === 1) return { timeline, start };
  const path = pathOfHistory(parseHistory(timeline, await pushHistory(connection, timeline, tools)));
  return { timeline: ownerAt(path, known?.restart ?? flushed), start };
}

async function pushHistory(
  connection: ReplicationConnection,
  timeline: TimelineId,
  tools: WalPushTools,
): Promise<string> {
  const { content } = await connection.timelineHistory(timeline);
  await pushWalBytes(historyName(timeline), new TextEncoder().encode(content), tools);
  return content;
}

/** Streams one timeline; null when the server or we end the stream, else where the next timeline begins. */
async function receiveTimeline(
  connection: ReplicationConnection,
  slot: string,
  { timeline, start }: Place,
  tools: WalPushTools,
): Promise<Place | null> {
  const { segmentBytes, log, signal } = tools;
  log.info(`receiving from ${formatLsn(start)} on timeline ${timeline}`);
  const buffer = new SegmentBuffer(segmentAt(timeline, start, segmentBytes), segmentBytes);
  for await (const event of connection.start({ slot, timeline, start }, signal)) {
    if (event.kind === "copyDone") return await endOfTimeline(connection, event, buffer, tools);
    if (event.kind !== "wal") continue;
    for (const full of buffer.take(event.lsn, event.bytes)) {
      await pushWalBytes(segmentName(full.segment, segmentBytes), full.bytes, tools);
      // Only whole segments in the store are acknowledged.
      const flush = segmentEnd(full.segment, segmentBytes);
      connection.sendStatus({ write: flush, flush, apply: flush });
      log.info(`archived ${segmentName(full.segment, segmentBytes)}`);
    }
  }
  return null;
}

async function endOfTimeline(
  connection: ReplicationConnection,
  { end }: Extract<StreamEvent, { readonly kind: "copyDone" }>,
  buffer: SegmentBuffer,
  tools: WalPushTools,
): Promise<Place | null> {
  if (end.kind !== "timeline") return null;
  const rest = buffer.partial();
  if (rest !== null)
    await pushWalBytes(`${segmentName(rest.segment, tools.segmentBytes)}.partial`, rest.bytes, tools);
  await pushHistory(connection, end.timeline, tools);
  return { timeline: end.timeline, start: segmentFloor(end.start, tools.segmentBytes) };
}

interface Filled {
  readonly segment: Segment;
  readonly bytes: Uint8Array;
}

/** Puts a stream together to segments. Throws AppError when it has a gap. */
class SegmentBuffer {
  readonly #segmentBytes: number;
  #segment: Segment;
  #bytes: Uint8Array;
  #filled = 0;

  constructor(segment: Segment, segmentBytes: number) {
    this.#segment = segment;
    this.#segmentBytes = segmentBytes;
    this.#bytes = new Uint8Array(segmentBytes);
  }

  /** The segments that become whole by these bytes. */
  take(lsn: Lsn, bytes: Uint8Array): readonly Filled[] {
    const full: Filled[] = [];
    const expected = bytesBetween(segmentStart(this.#segment, this.#segmentBytes), lsn);
    if (expected !== this.#filled) {
      throw new AppError(`the stream goes on at ${formatLsn(lsn)} and not where it stopped`, {
        code: "STREAM_GAP",
        hint: "it is opened again",
      });
    }
    for (let at = 0; at < bytes.byteLength;) {
      const piece = bytes.subarray(at, at + this.#segmentBytes - this.#filled);
      this.#bytes.set(piece, this.#filled);
      this.#filled += piece.byteLength;
      at += piece.byteLength;
      if (this.#filled < this.#segmentBytes) continue;
      full.push({ segment: this.#segment, bytes: this.#bytes });
      this.#segment = { ...this.#segment, number: this.#segment.number + 1n };
      this.#bytes = new Uint8Array(this.#segmentBytes);
      this.#filled = 0;
    }
    return full;
  }

  /** The open segment with zeros behind what is known; null when nothing of it is. */
  partial(): Filled | null {
    return this.#filled === 0 ? null : { segment: this.#segment, bytes: this.#bytes };
  }
}

/** A connection that lived so long was a good one. */
const STEADY_MS = 60_000;
