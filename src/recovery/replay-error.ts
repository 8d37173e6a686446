// A replay that did not end where it had to.

import { AppError } from "../base/errors.ts";

/** `startOver`: the directory is of no use any more, a new one from the archive is. Else: the order itself cannot be carried out. */
export class ReplayError extends AppError {
  readonly startOver: boolean;

  constructor(message: string, { startOver, hint }: { readonly startOver: boolean; readonly hint?: string }) {
    super(message, {
      code: startOver ? "RESTORE_START_OVER" : "RESTORE_FAILED",
      hint:
        hint ??
        (startOver ? "nothing to do by hand: the restore starts over" : "read the server's last lines above"),
    });
    this.startOver = startOver;
  }
}
