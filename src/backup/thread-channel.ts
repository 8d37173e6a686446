// Bytes between the main thread and a worker, with a window: neither side runs ahead of the other.

import type { MessagePort, Transferable } from "node:worker_threads";
import { AppError, messageOf } from "../base/errors.ts";

type Message =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** `memory` comes back to be used again. */
  | { readonly kind: "taken"; readonly bytes: number; readonly memory: ArrayBuffer | null }
  | { readonly kind: "note"; readonly note: unknown }
  | { readonly kind: "end"; readonly result: unknown }
  | { readonly kind: "failed"; readonly error: PlainError };

/** An error that can cross threads. */
interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly code: string | null;
  readonly hint: string | null;
  readonly stack: string;
}

/**
 * One end of a channel. Each end may send bytes, notes, and at last either a result or an error; what the peer failed
 * with is thrown wherever this end waits.
 */
export class ThreadChannel {
  readonly #port: MessagePort;
  readonly #windowBytes: number;
  readonly #onNote: (note: unknown) => void;
  #queue: Uint8Array[] = [];
  /** Memory that came back; allocation and collection of gigabytes would cost more than all copies. */
  #spare: ArrayBuffer[] = [];
  /** The piece that is being joined. */
  #open: { readonly memory: ArrayBuffer; bytes: number } | null = null;
  #unacknowledgedBytes = 0;
  #peer: { readonly result: unknown } | { readonly error: Error } | null = null;
  #wake: (() => void)[] = [];

  constructor(
    port: MessagePort,
    onNote: (note: unknown) => void = () => undefined,
    windowBytes = WINDOW_BYTES,
  ) {
    this.#port = port;
    this.#windowBytes = windowBytes;
    this.#onNote = onNote;
    port.on("message", (message: Message) => this.#take(message));
  }

  /** Sends a copy of the bytes, joined with others into pieces of one size. Waits while the window is full. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength;) {
      if (this.#open === null) await this.#hasRoom();
      this.#open ??= { memory: this.#spare.pop() ?? new ArrayBuffer(PIECE_BYTES), bytes: 0 };
      const part = bytes.subarray(at, at + PIECE_BYTES - this.#open.bytes);
      new Uint8Array(this.#open.memory).set(part, this.#open.bytes);
      this.#open.bytes += part.byteLength;
      at += part.byteLength;
      if (this.#open.bytes === PIECE_BYTES) this.#flush();
    }
  }

  async #hasRoom(): Promise<void> {
    while (this.#peer === null && this.#unacknowledgedBytes >= this.#windowBytes) await this.#changed();
    if (this.#peer !== null && "error" in this.#peer) throw this.#peer.error;
  }

  #flush(): void {
    if (this.#open === null) return;
    const { memory, bytes } = this.#open;
    this.#open = null;
    this.#unacknowledgedBytes += bytes;
    this.#post({ kind: "bytes", bytes: new Uint8Array(memory, 0, bytes) }, [memory]);
  }

  /** A message beside the bytes, in order with them. */
  note(note: unknown): void {
    this.#post({ kind: "note", note });
  }

  finish(result: unknown = null): void {
    this.#flush();
    this.#post({ kind: "end", result });
  }

  fail(error: unknown): void {
    this.#post({ kind: "failed", error: plainOf(error) });
  }

  /**
   * What the peer sends, until its end. A piece counts as taken once the next is asked for. With `givesBack` its memory
   * goes back to the peer then: who keeps a piece any longer finds it empty.
   */
  async *receive({ givesBack = false } = {}): AsyncGenerator<Uint8Array> {
    for (;;) {
      const bytes = this.#queue.shift();
      if (bytes !== undefined) {
        const size = bytes.byteLength;
        yield bytes;
        const memory = givesBack ? (bytes.buffer as ArrayBuffer) : null;
        this.#post({ kind: "taken", bytes: size, memory }, memory === null ? [] : [memory]);
        continue;
      }
      if (this.#peer !== null) {
        if ("error" in this.#peer) throw this.#peer.error;
        return;
      }
      await this.#changed();
    }
  }

  /** The peer's result, once it is there. */
  async result(): Promise<unknown> {
    while (this.#peer === null) await this.#changed();
    if ("error" in this.#peer) throw this.#peer.error;
    return this.#peer.result;
  }

  /** Everything that waits on this end throws `error`: the peer is gone. */
  abort(error: Error): void {
    this.#peer ??= { error };
    this.#notify();
  }

  close(): void {
    this.#port.close();
  }

  #take(message: Message): void {
    switch (message.kind) {
      case "bytes":
        this.#queue.push(message.bytes);
        break;
      case "taken":
        this.#unacknowledgedBytes -= message.bytes;
        if (message.memory?.byteLength === PIECE_BYTES && this.#spare.length < MOST_SPARE)
          this.#spare.push(message.memory);
        break;
      case "note":
        this.#onNote(message.note);
        return;
      case "end":
        this.#peer ??= { result: message.result };
        break;
      case "failed":
        this.#peer ??= { error: errorOf(message.error) };
    }
    this.#notify();
  }

  #post(message: Message, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}

function plainOf(error: unknown): PlainError {
  const known = error instanceof AppError ? error : null;
  return {
    name: error instanceof Error ? error.name : "Error",
    message: messageOf(error),
    code: known?.code ?? (error as { code?: string } | null)?.code ?? null,
    hint: known?.hint ?? null,
    stack: error instanceof Error ? (error.stack ?? "") : "",
  };
}

/** An error that a worker met, as it was told. */
export class WorkerError extends AppError {
  /** Class of the original, e.g. `CodecError`. */
  readonly originalName: string;

  constructor({ name, message, code, hint, stack }: PlainError) {
    super(message, { code: code ?? "WORKER_FAILED", hint: hint ?? "read the message for what was at hand" });
    this.originalName = name;
    this.stack = stack;
  }
}

const errorOf = (error: PlainError): Error => new WorkerError(error);

/** Bytes under way in one direction before the sender waits. */
const WINDOW_BYTES = 2 << 20;
const MOST_SPARE = 8;
/** Each message has its price, so small pieces are joined. */
const PIECE_BYTES = 512 << 10;
