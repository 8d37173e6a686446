// SIGINT and SIGTERM alike: the first one stops in order, a second one hurries.

import type { Log } from "../base/log.ts";

export interface StopSignals extends Disposable {
  /** Aborts at the first signal. */
  readonly stopping: AbortSignal;
  /** Aborts at the second. */
  readonly hurry: AbortSignal;
  /** As the first signal. */
  stop(because: string): void;
}

/** Listens on the process until it is disposed. */
export function listenForStop(log: Log, emitter: Pick<NodeJS.Process, "on" | "off"> = process): StopSignals {
  const stopping = new AbortController();
  const hurry = new AbortController();
  const stop = (because: string): void => {
    if (stopping.signal.aborted) {
      log.warn("hurrying: a second signal came", { because });
      hurry.abort(new Error(because));
      return;
    }
    log.info("stopping", { because });
    stopping.abort(new Error(because));
  };
  const listeners = STOP_SIGNALS.map(
    (signal) => [signal, (): void => stop(`${signal} was received`)] as const,
  );
  for (const [signal, listener] of listeners) emitter.on(signal, listener);
  // A terminal that goes away, or a reader of our log, must not end the database.
  const ignore = (): void => undefined;
  emitter.on("SIGHUP", ignore);
  emitter.on("SIGPIPE", ignore);
  return {
    stopping: stopping.signal,
    hurry: hurry.signal,
    stop,
    [Symbol.dispose]: () => {
      for (const [signal, listener] of listeners) emitter.off(signal, listener);
      emitter.off("SIGHUP", ignore);
      emitter.off("SIGPIPE", ignore);
    },
  };
}

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;
