// Why a streamer cannot go on with this server.

import { AppError } from "../base/errors.ts";

/** The epoch belongs to one start of Postgres (W6). */
export class ServerRestartedError extends Error {}

/** The server on the local address is of another system. */
export class ForeignServerError extends AppError {
  constructor(found: bigint, expected: bigint) {
    super(`the local server is of system ${found}, the log of system ${expected}`, {
      code: "STREAMER_FOREIGN_SERVER",
      hint: "check the port that the supervisor connects to",
    });
  }
}
