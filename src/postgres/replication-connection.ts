// A connection to a walsender: physical replication as an AsyncIterable, positions back as status updates.
// `pg` connects (TLS, SCRAM); then its socket is read by our own parser, because `pg` hands out chunks that it later overwrites.
// https://www.postgresql.org/docs/current/protocol-replication.html

import type { Socket } from "node:net";
import { Client } from "pg";
import { invariant } from "../base/errors.ts";
import { formatLsn, type Lsn, parseLsn, ZERO_LSN } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import { encodeStatus } from "../wal/stream-message.ts";
import { ByteQueue } from "./byte-queue.ts";
import { type ParsedMessage, ReplicationParser, type ReplicationRow } from "./replication-parser.ts";
import type {
  ReplicationOptions,
  StandbyStatus,
  StreamEnd,
  StreamEvent,
  StreamStart,
  SystemIdentity,
} from "./replication-types.ts";
import { identifier, message, text } from "./replication-wire.ts";
import { clientSettings, describeAddress, type ServerAddress } from "./server-address.ts";
import { asServerError, ServerError } from "./server-error.ts";

/** Connects and authenticates. Throws ServerError. */
export async function connectReplication(
  address: ServerAddress,
  options: ReplicationOptions,
): Promise<ReplicationConnection> {
  const client = new Client({ ...clientSettings(address), replication: "true" } as ConstructorParameters<
    typeof Client
  >[0]);
  // Also after the hand-over: without a listener a reset connection would end the process.
  client.on("error", () => undefined);
  const { connection } = client as unknown as { connection: PgConnection };
  let version = "";
  connection.on("parameterStatus", ({ parameterName, parameterValue }) => {
    if (parameterName === "server_version") version = parameterValue;
  });
  try {
    await client.connect();
  } catch (error) {
    throw asServerError(error, `connect for replication to ${describeAddress(address)}`);
  }
  // Safe: after ReadyForQuery the connection is idle, so no byte is under way in `pg`'s parser.
  connection.stream.removeAllListeners("data");
  return new ReplicationConnection(connection.stream, Number.parseInt(version, 10), options);
}

/** One walsender. One command or one stream at a time. */
export class ReplicationConnection implements AsyncDisposable {
  /** 15, 16, 17, … */
  readonly serverMajor: number;
  readonly #socket: Socket;
  readonly #options: Required<ReplicationOptions>;
  readonly #parser = new ReplicationParser();
  readonly #closing = new AbortController();
  readonly #closed: Promise<void>;
  #queue: ByteQueue<ParsedMessage>;
  #state: "idle" | "command" | "stream" | "closed" = "idle";
  #status: StandbyStatus = { write: ZERO_LSN, flush: ZERO_LSN, apply: ZERO_LSN };
  #heardMs: number;
  #copyDoneSent = false;
  #heardSinceStatus = true;

  constructor(socket: Socket, serverMajor: number, options: ReplicationOptions) {
    this.#socket = socket;
    this.serverMajor = serverMajor;
    this.#options = { statusIntervalMs: 3_000, silenceMs: 30_000, bufferBytes: 8 << 20, ...options };
    this.#heardMs = options.clock.monotonicMs();
    this.#queue = this.#freshQueue();
    this.#closed = new Promise((resolve) => {
      if (socket.closed) resolve();
      else socket.once("close", () => resolve());
    });
    socket.on("data", (data: Buffer) => this.#receive(data));
    socket.on("error", (error) =>
      this.#fail(new ServerError("the replication connection broke", { cause: error })),
    );
    socket.on("close", () => this.#fail(new ServerError("the server closed the replication connection")));
    if (socket.destroyed) this.#fail(new ServerError("the server closed the replication connection"));
  }

  async identifySystem(): Promise<SystemIdentity> {
    const [row] = await this.#command("IDENTIFY_SYSTEM");
    return {
      systemId: BigInt(text(row, 0)),
      timeline: Number(text(row, 1)),
      flushed: parseLsn(text(row, 2)),
    };
  }

  /** A setting as SHOW prints it, such as `16MB`. */
  async show(name: string): Promise<string> {
    const [row] = await this.#command(`SHOW ${identifier(name)}`);
    return text(row, 0);
  }

  /** The `.history` file of `timeline`, which must be on the server's path and above 1. */
  async timelineHistory(timeline: TimelineId): Promise<{ readonly name: string; readonly content: string }> {
    const [row] = await this.#command(`TIMELINE_HISTORY ${timeline}`);
    return { name: text(row, 0), content: text(row, 1) };
  }

  /** Creates a physical slot that holds WAL from now on. Throws ServerError `duplicateObject` when it exists. */
  async createSlot(name: string): Promise<void> {
    await this.#command(`CREATE_REPLICATION_SLOT ${identifier(name)} PHYSICAL RESERVE_WAL`);
  }

  /** Where a physical slot stands; null when there is no such slot. `restart` is null when it holds nothing (lost, or never used). */
  async readSlot(
    name: string,
  ): Promise<{ readonly restart: Lsn | null; readonly timeline: TimelineId | null } | null> {
    const [row] = await this.#command(`READ_REPLICATION_SLOT ${identifier(name)}`);
    if (row?.[0] === null || row === undefined) return null;
    const [, restart, timeline] = row;
    return {
      restart: restart === null || restart === undefined ? null : parseLsn(restart),
      timeline: timeline === null || timeline === undefined ? null : Number(timeline),
    };
  }

  /** Drops a slot; throws ServerError `undefinedObject` when there is none. */
  async dropSlot(name: string): Promise<void> {
    await this.#command(`DROP_REPLICATION_SLOT ${identifier(name)}`);
  }

  /**
   * Asks for WAL from `start` on and yields what comes. The request is sent at once; what the server refuses is thrown by the
   * first step. Left before `copyDone`, the connection is closed. Throws ServerError when the connection is lost.
   */
  start(from: StreamStart, signal: AbortSignal): AsyncGenerator<StreamEvent, void, undefined> {
    const slot = from.slot === null ? "" : `SLOT ${identifier(from.slot)} `;
    this.#begin("stream");
    this.#copyDoneSent = false;
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#query(`START_REPLICATION ${slot}PHYSICAL ${formatLsn(from.start)} TIMELINE ${from.timeline}`);
    return this.#stream(signal);
  }

  /**
   * Runs a command without a deadline and yields every message of its answer, without the last `ready`. What the server
   * refuses is thrown (ServerError) once it is ready again. Left early, the connection is closed.
   */
  async *run(sql: string, signal: AbortSignal): AsyncGenerator<ParsedMessage, void, undefined> {
    this.#begin("command");
    this.#query(sql);
    let refusal: ServerError | null = null;
    try {
      for (;;) {
        const event = await this.#queue.take(signal).catch((error: unknown) => {
          throw signal.aborted ? error : (refusal ?? error);
        });
        if (event.kind === "error") refusal = event.error;
        else if (event.kind !== "ready") yield event;
        else break;
      }
      this.#state = "idle";
    } finally {
      if (this.#is("command")) await this.close();
    }
    if (refusal !== null) throw refusal;
  }

  /**
   * Reports positions, now and then every `statusIntervalMs`. Harmless when no stream is open. The same positions are not sent twice
   * in answer to the same message: at a shutdown the walsender ends on the first, and a write to it would cost us its last words.
   */
  sendStatus(status: StandbyStatus): void {
    const { write, flush, apply } = this.#status;
    const isNews = status.write !== write || status.flush !== flush || status.apply !== apply;
    this.#status = status;
    if (isNews || this.#heardSinceStatus) this.#writeStatus(false);
  }

  #writeStatus(replyAtOnce: boolean): void {
    if (this.#state !== "stream" || this.#copyDoneSent) return;
    const { write, flush, apply } = this.#status;
    const atMs = this.#options.clock.now();
    const status = encodeStatus({ written: write, flushed: flush, applied: apply, atMs, replyAtOnce });
    this.#heardSinceStatus = false;
    this.#socket.write(message("d", status));
  }

  /** Asks the server to end the stream; go on taking events until `copyDone`. */
  endCopy(): void {
    if (this.#state !== "stream" || this.#copyDoneSent) return;
    this.#copyDoneSent = true;
    this.#socket.write(message("c", Buffer.alloc(0)));
  }

  /** Ends the connection now; never waits for the server. Idempotent. */
  async close(): Promise<void> {
    if (this.#state !== "closed") {
      const idle = this.#state === "idle";
      this.#fail(new ServerError("the replication connection was closed on this side"));
      if (idle) this.#socket.end(message("X", Buffer.alloc(0)));
    }
    this.#socket.resume();
    this.#socket.destroySoon();
    // A peer that is cut off never answers our FIN.
    const hurry = setTimeout(() => this.#socket.destroy(), CLOSE_LIMIT_MS);
    await this.#closed;
    clearTimeout(hurry);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async *#stream(signal: AbortSignal): AsyncGenerator<StreamEvent, void, undefined> {
    const beat = new AbortController();
    const beating = this.#beat(AbortSignal.any([beat.signal, this.#closing.signal]));
    let next: StreamEnd | null = null;
    let refusal: ServerError | null = null;
    let asked = false;
    try {
      for (;;) {
        const event = await this.#take(signal, next, refusal);
        if (event === "shutdown") return yield { kind: "copyDone", end: { kind: "shutdown" } };
        switch (event.kind) {
          case "wal":
          case "messageEnd":
          case "keepalive":
            yield event;
            break;
          case "copyDone":
            asked = this.#copyDoneSent;
            this.endCopy();
            break;
          case "row":
            next = {
              kind: "timeline",
              timeline: Number(text(event.row, 0)),
              start: parseLsn(text(event.row, 1)),
            };
            break;
          case "complete":
            next ??= asked || this.#copyDoneSent ? { kind: "asked" } : { kind: "shutdown" };
            break;
          case "error":
            refusal = event.error;
            break;
          case "ready":
            if (this.#is("stream")) this.#state = "idle";
            if (refusal !== null) throw refusal;
            return yield { kind: "copyDone", end: next ?? { kind: "asked" } };
          case "copyBoth":
          case "notice":
          case "archive":
          case "archiveData":
            break;
        }
      }
    } finally {
      beat.abort();
      await beating;
      if (this.#is("stream")) await this.close();
    }
  }

  /** The next message. A close right after CommandComplete is how a walsender ends at a shutdown. */
  async #take(
    signal: AbortSignal,
    next: StreamEnd | null,
    refusal: ServerError | null,
  ): Promise<ParsedMessage | "shutdown"> {
    try {
      return await this.#queue.take(signal);
    } catch (error) {
      if (refusal !== null && !signal.aborted) throw refusal;
      if (next?.kind === "shutdown" && !signal.aborted) return "shutdown";
      throw error;
    }
  }

  /** Keeps the connection alive while a stream is open, and notices when it is dead. */
  async #beat(signal: AbortSignal): Promise<void> {
    const { clock, statusIntervalMs, silenceMs } = this.#options;
    for (;;) {
      try {
        await clock.sleep(statusIntervalMs, signal);
      } catch {
        return;
      }
      const silentMs = this.#queue.paused ? 0 : clock.monotonicMs() - this.#heardMs;
      if (silentMs >= silenceMs) {
        this.#fail(new ServerError(`nothing was heard from the walsender for ${Math.round(silentMs)} ms`));
        this.#socket.destroy();
        return;
      }
      this.#writeStatus(silentMs >= statusIntervalMs);
    }
  }

  async #command(sql: string): Promise<readonly ReplicationRow[]> {
    this.#begin("command");
    this.#query(sql);
    const limit = AbortSignal.timeout(COMMAND_LIMIT_MS);
    const rows: ReplicationRow[] = [];
    let refusal: ServerError | null = null;
    for (;;) {
      let event: ParsedMessage;
      try {
        event = await this.#queue.take(limit);
      } catch (error) {
        await this.close();
        throw refusal ?? asServerError(error, `run ${sql}`);
      }
      if (event.kind === "row") rows.push(event.row);
      if (event.kind === "error") refusal = event.error;
      if (event.kind !== "ready") continue;
      this.#state = "idle";
      if (refusal === null) return rows;
      throw new ServerError(`could not run ${sql}`, {
        sqlState: refusal.sqlState,
        hint: refusal.hint,
        cause: refusal,
      });
    }
  }

  #begin(state: "command" | "stream"): void {
    if (this.#state === "closed") throw new ServerError("the replication connection is closed");
    invariant(
      this.#state === "idle",
      `one command at a time on a replication connection; it is in a ${this.#state}`,
    );
    this.#state = state;
    this.#queue = this.#freshQueue();
  }

  #receive(data: Buffer): void {
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#heardSinceStatus = true;
    for (const parsed of this.#parser.feed(data)) {
      this.#queue.put(parsed, "bytes" in parsed ? parsed.bytes.byteLength : 0);
    }
  }

  #fail(error: ServerError): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#queue.fail(error);
    this.#closing.abort(error);
  }

  #freshQueue(): ByteQueue<ParsedMessage> {
    return new ByteQueue(this.#options.bufferBytes, {
      pause: () => this.#socket.pause(),
      resume: () => {
        // What was not read cannot have been heard: the silence counts from here.
        this.#heardMs = this.#options.clock.monotonicMs();
        this.#socket.resume();
      },
    });
  }

  #query(sql: string): void {
    this.#socket.write(message("Q", Buffer.from(`${sql}\0`)));
  }

  #is(state: string): boolean {
    return this.#state === state;
  }
}

interface PgConnection {
  readonly stream: Socket;
  on(
    event: "parameterStatus",
    listener: (message: { parameterName: string; parameterValue: string }) => void,
  ): void;
}

const COMMAND_LIMIT_MS = 60_000;
const CLOSE_LIMIT_MS = 2_000;
