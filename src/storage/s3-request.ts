// One request to S3, or a request with repeats; errors become StoreError on the way.

import type { S3Client } from "@aws-sdk/client-s3";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { type Backoff, pauseBefore, retry } from "../base/retry.ts";
import { StoreError } from "./object-store.ts";
import type { Pace } from "./rate-limit.ts";
import { type S3Failure, failureOf, s3Error } from "./s3-error.ts";
import { type S3Clients, type S3Settings, secretsOf } from "./s3-settings.ts";

export interface S3Tools {
  readonly clock: Clock;
  readonly log: Log;
  /** Slows what is sent and received; `unlimited` when left out. */
  readonly pace?: Pace;
  /** 0 ≤ r < 1; spreads the pauses between tries. */
  readonly random?: () => number;
}

/** Handed to the SDK's `send` with each command. */
interface SendOptions {
  readonly abortSignal: AbortSignal;
}

export interface RepeatOptions<T> {
  /** Turns a failure that is an answer into a value; undefined means that it is a failure. */
  readonly accept?: (failure: S3Failure, attempt: number) => T | undefined;
  /** The store may work on it in silence for minutes. */
  readonly slow?: boolean;
  /** Part of something large that is under way: worth waiting some minutes for a store that went away. */
  readonly underWay?: boolean;
}

/** How often a body broke since it last made progress. */
export interface Breaks {
  readonly count: number;
  readonly sinceMs: number;
}

export type Sent<T> =
  | { readonly ok: true; readonly output: T }
  | { readonly ok: false; readonly failure: S3Failure };

type Send<T> = (client: S3Client, options: SendOptions) => Promise<T>;

/** A dead endpoint is reported within 30 s: the last try begins after 18 s and a pause, and takes six. */
const BRIEF = { firstMs: 200, mostMs: 3_000, totalMs: 18_000 } as const;
const LONG = { firstMs: 200, mostMs: 10_000, totalMs: 180_000 } as const;

export class S3Requests {
  readonly #clients: S3Clients;
  readonly #tools: S3Tools;
  readonly #secrets: readonly string[];
  readonly #tries: number;

  constructor(clients: S3Clients, settings: S3Settings, tools: S3Tools) {
    this.#clients = clients;
    this.#tools = tools;
    this.#secrets = secretsOf(settings);
    this.#tries = settings.maxRetries + 1;
  }

  /** One try; a failure is a value. Throws the signal's reason when it is aborted. */
  async once<T>(send: Send<T>, signal: AbortSignal, slow = false): Promise<Sent<T>> {
    signal.throwIfAborted();
    try {
      const client = slow ? this.#clients.patient : this.#clients.quick;
      return { ok: true, output: await send(client, { abortSignal: signal }) };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      return { ok: false, failure: this.failure(error) };
    }
  }

  /** Repeats unknown outcomes. */
  async repeat<T>(
    what: string,
    send: Send<T>,
    signal: AbortSignal,
    { accept, slow = false, underWay = false }: RepeatOptions<T> = {},
  ): Promise<T> {
    return this.retry(
      what,
      async (attempt) => {
        const sent = await this.once(send, signal, slow);
        if (sent.ok) return sent.output;
        const accepted = accept?.(sent.failure, attempt);
        if (accepted !== undefined) return accepted;
        throw s3Error(sent.failure, what);
      },
      signal,
      underWay ? LONG : BRIEF,
    );
  }

  /** Runs `work` until it succeeds, throws anything but `unknown`, or the tries or the time are used up. */
  retry<T>(
    what: string,
    work: (attempt: number) => Promise<T>,
    signal: AbortSignal,
    patience: Omit<Backoff, "tries"> = BRIEF,
  ): Promise<T> {
    return retry(what, work, isUnknown, { ...patience, tries: this.#tries }, { ...this.#tools, signal });
  }

  /** For a body that breaks: waits before the next try, or throws `error` when tries or time are used up. */
  async pauseOrThrow(error: unknown, breaks: Breaks, signal: AbortSignal): Promise<void> {
    const spent = this.#tools.clock.monotonicMs() - breaks.sinceMs;
    if (!isUnknown(error) || breaks.count >= this.#tries || spent >= BRIEF.totalMs) throw error;
    await this.#tools.clock.sleep(pauseBefore(breaks.count, { ...BRIEF, tries: this.#tries }), signal);
  }

  /** No break yet. */
  unbroken(): Breaks {
    return { count: 0, sinceMs: this.#tools.clock.monotonicMs() };
  }

  /** The failure without secrets. */
  failure(error: unknown): S3Failure {
    return failureOf(error, this.#secrets);
  }

  get log(): Log {
    return this.#tools.log;
  }

  async pace(bytes: number, signal: AbortSignal): Promise<void> {
    await this.#tools.pace?.(bytes, signal);
  }
}

const isUnknown = (error: unknown): boolean => error instanceof StoreError && error.kind === "unknown";
