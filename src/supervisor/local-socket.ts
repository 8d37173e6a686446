// The socket on which archive_command, restore_command, repmgr's hooks and the command line talk to the supervisor.
//
// A request is one line: `VERB argument argument…`; the client keeps its side open, since closing it means that it gave up. The answer is
// any number of text lines; the last line is `exit N`. No such line, or a closed connection before it, is a failure: the shell client then
// exits 1. The file's mode is the access control.

import { chmod, chown, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

export interface SocketAnswer {
  /** Printed by the client on its standard output, line by line. */
  readonly lines: readonly string[];
  /** 0 to 255. */
  readonly exit: number;
}

/** Answers one verb. `signal` aborts when the client hangs up or the server closes. */
export type VerbHandler = (args: readonly string[], signal: AbortSignal) => Promise<SocketAnswer>;

export interface LocalSocket extends AsyncDisposable {
  readonly path: string;
}

export interface LocalSocketOptions {
  readonly path: string;
  readonly verbs: Readonly<Record<string, VerbHandler>>;
  readonly log: Log;
  /** Owner and group of the socket's file; Postgres must be able to connect. Left as is when null. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
}

/** Listens; what an earlier process left at `path` is replaced. */
export async function listenLocally(options: LocalSocketOptions): Promise<LocalSocket> {
  const { path, owner } = options;
  await rm(path, { force: true });
  const closing = new AbortController();
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    serve(socket, options, closing.signal).catch((error: unknown) =>
      options.log.warn("a request on the local socket broke", { because: messageOf(error) }),
    );
  });
  await listening(server, path);
  if (owner !== null) await chown(path, owner.uid, owner.gid);
  await chmod(path, 0o600);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      closing.abort(new Error("the supervisor is stopping"));
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await rm(path, { force: true });
    },
  };
}

async function listening(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });
  server.on("error", () => undefined);
}

/** Reads one request, answers it, closes. */
async function serve(
  socket: Socket,
  { verbs, log }: LocalSocketOptions,
  closing: AbortSignal,
): Promise<void> {
  const gone = new AbortController();
  socket.on("error", () => gone.abort(new Error("the client hung up")));
  socket.on("close", () => gone.abort(new Error("the client hung up")));
  const request = await readLine(socket);
  if (request === null) {
    socket.destroy();
    return;
  }
  const { verb, args } = parseRequest(request);
  const handler = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  let answer: SocketAnswer;
  if (handler === undefined) answer = { lines: [`unknown verb "${verb}"`], exit: 2 };
  else {
    try {
      answer = await handler(args, AbortSignal.any([gone.signal, closing]));
    } catch (error) {
      log.warn("a request on the local socket failed", { verb, because: messageOf(error) });
      answer = { lines: [messageOf(error)], exit: 1 };
    }
  }
  socket.end(formatAnswer(answer));
}

/** The first line, or null when the connection ended before one was whole. */
async function readLine(socket: Socket): Promise<string | null> {
  return await new Promise((resolve) => {
    let text = "";
    const finish = (line: string | null): void => {
      socket.off("data", onData);
      socket.setTimeout(0);
      resolve(line);
    };
    const onData = (piece: Buffer): void => {
      text += piece.toString("utf8");
      const end = text.indexOf("\n");
      if (end >= 0) finish(text.slice(0, end));
      else if (text.length > REQUEST_LIMIT_CHARS) finish(null);
    };
    socket.on("data", onData);
    socket.once("end", () => finish(null));
    socket.once("close", () => finish(null));
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => finish(null)); // only while the request is awaited
  });
}

/** Splits a request line; `call` keeps the rest of its line whole, because JSON holds blanks. */
export function parseRequest(line: string): { verb: string; args: readonly string[] } {
  const [verb = "", ...rest] = line.trim().split(" ");
  if (verb === "call") return { verb, args: [line.trim().slice("call ".length)] };
  return { verb, args: rest.filter((word) => word !== "") };
}

/** No text line may look like the last one. */
export function formatAnswer({ lines, exit }: SocketAnswer): string {
  const text = lines
    .flatMap((line) => line.split("\n"))
    .map((line) => (line.startsWith("exit ") ? ` ${line}` : line));
  return [...text, `exit ${exit}`, ""].join("\n");
}

const REQUEST_LIMIT_CHARS = 256 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
