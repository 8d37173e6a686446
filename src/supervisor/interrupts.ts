// What ends a term or a wait before its time, without ending the supervisor: an order of the operator.

/** One per node. */
export class Interrupts {
  #current = new AbortController();

  /** Aborts at the next order. Ask for it anew in each term and each wait. */
  get signal(): AbortSignal {
    return this.#current.signal;
  }

  /** Ends what runs now; what begins afterwards is not touched. */
  interrupt(because: string): void {
    const ending = this.#current;
    this.#current = new AbortController();
    ending.abort(new Error(because));
  }
}
