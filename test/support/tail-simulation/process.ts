// One start of a supervisor in a simulation: it can be paused with everything it waits for, and it can die at any instant.

import type { Clock } from "../../../src/base/clock.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export class Process {
  readonly name: string;
  readonly clock: Clock;
  readonly #death = new AbortController();
  #pause: PromiseWithResolvers<void> | null = null;

  constructor(name: string, world: VirtualClock) {
    this.name = name;
    this.clock = {
      now: () => world.now(),
      monotonicMs: () => world.monotonicMs(),
      sleep: async (ms, signal) => {
        await world.sleep(ms, signal === undefined ? this.signal : AbortSignal.any([signal, this.signal]));
        await this.gate();
        signal?.throwIfAborted();
      },
    };
  }

  get signal(): AbortSignal {
    return this.#death.signal;
  }

  get isAlive(): boolean {
    return !this.#death.signal.aborted;
  }

  get isPaused(): boolean {
    return this.#pause !== null;
  }

  kill(): void {
    this.#death.abort(new Error(`${this.name} was killed`));
    this.resume();
  }

  pause(): void {
    this.#pause ??= Promise.withResolvers<void>();
  }

  resume(): void {
    this.#pause?.resolve();
    this.#pause = null;
  }

  /** Holds whatever comes back to a paused process; throws in a dead one. */
  async gate(): Promise<void> {
    while (this.#pause !== null) await this.#pause.promise;
    this.mustLive();
  }

  mustLive(): void {
    this.#death.signal.throwIfAborted();
  }
}
