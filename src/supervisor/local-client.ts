// The other end of the local socket, for the command line.

import { connect } from "node:net";
import { AppError, messageOf } from "../base/errors.ts";
import type { SocketAnswer } from "./local-socket.ts";

/** No supervisor answers on the socket, or it hung up before the last line. */
export class NoSupervisorError extends AppError {
  constructor(path: string, cause?: unknown) {
    super(`no supervisor answers at "${path}"`, {
      code: "NO_SUPERVISOR",
      hint: "run this inside the container of a running node, for example with `docker exec`",
      cause,
    });
  }
}

/** Sends one request line and reads the answer to its last line. Throws NoSupervisorError. */
export async function callLocally(path: string, request: string, signal: AbortSignal): Promise<SocketAnswer> {
  const text = await exchange(path, request, signal);
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const last = /^exit (\d+)$/.exec(lines.pop() ?? "");
  if (last === null) throw new NoSupervisorError(path, new Error("the connection ended before an answer"));
  return { lines, exit: Number(last[1]) };
}

async function exchange(path: string, request: string, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const socket = connect(path);
  const onAbort = (): void => void socket.destroy(new Error(messageOf(signal.reason)));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    // Not half-closed: on a Unix socket the other side could not tell a half-closed peer from one that is gone.
    socket.write(`${request}\n`);
    let text = "";
    socket.setEncoding("utf8");
    for await (const piece of socket) text += String(piece);
    return text;
  } catch (error) {
    signal.throwIfAborted();
    throw new NoSupervisorError(path, error);
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.destroy();
  }
}
