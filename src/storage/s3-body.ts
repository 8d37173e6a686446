// The body of a GET: a break is resumed by range, silence is noticed, and it ends only when every byte has come.

import type { Readable } from "node:stream";
import { StoreError } from "./object-store.ts";
import { s3Error } from "./s3-error.ts";
import type { S3Requests } from "./s3-request.ts";

/** Past so many bytes a further break counts as the first. */
const PROGRESS_BYTES = 1 << 20;

export interface BodyPlan {
  /** For messages: `s3://bucket/key`. */
  readonly what: string;
  readonly first: Readable;
  /** Bytes `start` up to `end`, not included. */
  readonly start: number;
  readonly end: number;
  readonly idleTimeoutMs: number;
  /** Another GET of the same version from `at` on. */
  readonly reopen: (at: number) => Promise<Readable>;
}

/** Yields exactly the bytes of the plan, or throws StoreError. */
export async function* resumingBody(
  plan: BodyPlan,
  requests: S3Requests,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let at = plan.start;
  let stream = plan.first;
  let breaks = requests.unbroken();
  for (let progressAt = at; ;) {
    try {
      for await (const piece of watched(stream, plan, requests, signal)) {
        at += piece.byteLength;
        if (at > plan.end) throw new StoreError("damaged", `${plan.what} has more than ${plan.end} bytes`);
        await requests.pace(piece.byteLength, signal);
        yield piece;
      }
      if (at === plan.end) return;
      throw new StoreError("unknown", `${plan.what} broke off at ${at} of ${plan.end} bytes`);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (at - progressAt >= PROGRESS_BYTES) [breaks, progressAt] = [requests.unbroken(), at];
      breaks =
        breaks.count === 0 ? { ...requests.unbroken(), count: 1 } : { ...breaks, count: breaks.count + 1 };
      await requests.pauseOrThrow(error, breaks, signal);
      stream = await plan.reopen(at);
    }
  }
}

/** The stream's pieces; its errors, and silence, become StoreError. */
async function* watched(
  stream: Readable,
  { what, idleTimeoutMs }: BodyPlan,
  requests: S3Requests,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const stop = (): void => void stream.destroy(new Error("aborted"));
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  let timer: NodeJS.Timeout | null = null;
  const wait = (): void => {
    timer = setTimeout(() => stream.destroy(new Error(`no byte for ${idleTimeoutMs} ms`)), idleTimeoutMs);
  };
  const pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  try {
    for (;;) {
      wait();
      const next = await pieces.next();
      clearTimeout(timer ?? undefined); // the reader may take its time; only the store may not
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    throw s3Error(requests.failure(error), `read ${what}`);
  } finally {
    clearTimeout(timer ?? undefined);
    signal.removeEventListener("abort", stop);
    stream.destroy();
  }
}
