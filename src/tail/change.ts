// Waiting for a condition that others bring about, without polling.

export class Change {
  #waiters: (() => void)[] = [];

  /** Lets everyone who waits look again. */
  bump(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Resolves once `isDone` holds, looked at now and at every bump. Rejects with the reason of a signal that aborts. */
  async until(isDone: () => boolean, ...signals: readonly AbortSignal[]): Promise<void> {
    for (;;) {
      if (isDone()) return;
      for (const signal of signals) signal.throwIfAborted();
      await this.#next(signals);
    }
  }

  async #next(signals: readonly AbortSignal[]): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiters.push(wake);
    for (const signal of signals) signal.addEventListener("abort", wake, { once: true });
    await promise;
    for (const signal of signals) signal.removeEventListener("abort", wake);
    const at = this.#waiters.indexOf(wake);
    if (at >= 0) this.#waiters.splice(at, 1);
  }
}
