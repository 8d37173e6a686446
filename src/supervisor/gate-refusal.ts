// What ends a gate for good.

import { AppError } from "../base/errors.ts";

/** The step says no, for good. */
export class GateRefusal extends AppError {
  constructor(message: string) {
    super(message, { code: "GATE_REFUSED", hint: "look at `holdfast cluster status`" });
  }
}
