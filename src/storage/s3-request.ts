// One request to S3, or a request with repeats; errors become StoreError on the way.

import type { S3Client } from "@aws-sdk/client-s3";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { type Backoff, retry } from "../base/retry.ts";
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
  readonly slow?: boolean;
}

export type Sent<T> =
  | { readonly ok: true; readonly output: T }
  | { readonly ok: false; readonly failure: S3Failure };

type Send<T> = (client: S3Client, options: SendOptions) => Promise<T>;

const FIRST_PAUSE_MS = 200;
const MOST_PAUSE_MS = 20_000;

export class S3Requests {
  readonly #clients: S3Clients;
  readonly #tools: S3Tools;
  readonly #secrets: readonly string[];
  readonly backoff: Backoff;

  constructor(clients: S3Clients, settings: S3Settings, tools: S3Tools) {
    this.#clients = clients;
    this.#tools = tools;
    this.#secrets = secretsOf(settings);
    this.backoff = { firstMs: FIRST_PAUSE_MS, mostMs: MOST_PAUSE_MS, tries: settings.maxRetries + 1 };
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
    { accept, slow = false }: RepeatOptions<T> = {},
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
    );
  }

  /** Runs `work` until it succeeds, throws anything but `unknown`, or the tries are used up. */
  retry<T>(what: string, work: (attempt: number) => Promise<T>, signal: AbortSignal): Promise<T> {
    return retry(what, work, isUnknown, this.backoff, { ...this.#tools, signal });
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

  async pause(attempt: number, signal: AbortSignal): Promise<void> {
    await this.#tools.clock.sleep(Math.min(MOST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1)), signal);
  }
}

const isUnknown = (error: unknown): boolean => error instanceof StoreError && error.kind === "unknown";
