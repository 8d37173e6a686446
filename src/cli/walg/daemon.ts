// `wal-g daemon`: pushes and fetches for clients on a Unix socket, without a start of this program for each file.

import { chmod, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { isAbsolute, join } from "node:path";
import { AppError, EXIT, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { type DaemonRequest, decodeRequest, REPLY } from "./daemon-protocol.ts";
import { parseDuration, UsageError } from "./flags.ts";

export const DAEMON: WalgCommand = {
  path: "daemon",
  summary: "Runs a daemon that pushes and fetches WAL for clients on a Unix socket",
  use: "daemon daemon_socket_path",
  examples: [
    "wal-g daemon /tmp/wal-g.sock",
    "archive_command = 'walg-daemon-client /tmp/wal-g.sock wal-push %f'",
  ],
  flags: [],
  check: argumentCount(1, 1),
  run: serve,
};

/** Serves until it is told to stop; resolves to 0 then. */
async function serve(call: Call): Promise<number> {
  const { args, settings, log, signal } = call;
  const data = settings.text("PGDATA");
  if (data === undefined) throw new UsageError("PGDATA is not set", "the daemon finds pg_wal below it");
  const limitText = settings.text("WALG_DAEMON_WAL_UPLOAD_TIMEOUT") ?? "60s";
  const pushLimitMs = parseDuration(limitText);
  if (pushLimitMs === null)
    throw new UsageError(`WALG_DAEMON_WAL_UPLOAD_TIMEOUT: "${limitText}" is no duration`);
  if (settings.text("NOTIFY_SOCKET") !== undefined)
    log.info("NOTIFY_SOCKET is set, but no watchdog messages are sent");
  await call.openStore();
  await using _ = await listenForClients(
    args[0]!,
    (request) => perform(call, request, data, pushLimitMs),
    log,
  );
  log.info(`daemon listens on ${args[0]}`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  return 0;
}

/** Answers one request with a byte of REPLY. */
export type RequestHandler = (request: DaemonRequest) => Promise<number>;

/** Listens on a Unix socket at `path`, which only its owner may use; what is left there is replaced. Disposed, it ends all connections. */
export async function listenForClients(
  path: string,
  work: RequestHandler,
  log: Log,
): Promise<AsyncDisposable> {
  await rm(path, { force: true });
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", (error) => log.debug("a client hung up", { because: error.message }));
    void answerClient(socket, work, log);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  }).catch((error: unknown) => {
    throw new AppError(`could not listen on "${path}": ${messageOf(error)}`, {
      code: "DAEMON_SOCKET",
      hint: "check the folder and its rights",
    });
  });
  await chmod(path, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await rm(path, { force: true });
    },
  };
}

/** Reads messages and writes one byte for each; after a push or a fetch, and after an error, the connection ends. */
async function answerClient(socket: Socket, work: RequestHandler, log: Log): Promise<void> {
  let held: Uint8Array = new Uint8Array(0);
  try {
    // The last byte must still leave when the loop does.
    for await (const piece of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
      held = Buffer.concat([held, piece]);
      for (let found = decodeRequest(held); found !== null; found = decodeRequest(held)) {
        held = held.subarray(found.length);
        socket.write(Buffer.of(await work(found.request)));
        if (found.request.kind !== "check") return void socket.end();
      }
    }
  } catch (error) {
    log.error("a request failed", { because: messageOf(error) });
    socket.end(Buffer.of(REPLY.error));
  }
}

async function perform(
  call: Call,
  request: DaemonRequest,
  data: string,
  pushLimitMs: number,
): Promise<number> {
  if (request.kind === "check") return REPLY.ok;
  const { log } = call;
  try {
    if (request.kind === "push") {
      const { pushPath } = await import("./wal-push.ts");
      const signal = AbortSignal.any([call.signal, AbortSignal.timeout(pushLimitMs)]);
      const status = await pushPath({ ...call, signal }, join(data, "pg_wal", request.name));
      return status === 0 ? REPLY.ok : REPLY.error;
    }
    const { fetchWal } = await import("./wal-fetch.ts");
    const target = isAbsolute(request.target) ? request.target : join(data, request.target);
    await fetchWal({ ...call, args: [request.name, target] });
    return REPLY.ok;
  } catch (error) {
    if (error instanceof AppError && error.exitStatus === EXIT.absent) return REPLY.absent;
    log.error(messageOf(error), { file: request.name });
    return REPLY.error;
  }
}
