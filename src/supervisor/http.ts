// The check port: plain answers to GET, nothing that changes state.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
  readonly contentType?: string;
}

/** Takes a request over, or leaves it. */
export type TakeRequest = (request: IncomingMessage, response: ServerResponse) => boolean;

/** The answer to GET `path`, or null for 404. */
export type Responder = (path: string) => Promise<HttpAnswer | null> | HttpAnswer | null;

export interface HttpOptions {
  /** 0 takes any free port. */
  readonly port: number;
  /** null: everywhere. */
  readonly addresses?: readonly string[] | null;
  readonly respond: Responder;
  /** Asked first; true when it answers the request itself: other members' messages. */
  readonly take?: TakeRequest | null;
  readonly log: Log;
}

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Listens on the addresses, or on `::` for both families (Fly's checks come over IPv4, its private network is IPv6); on a machine without IPv6 on
 * `0.0.0.0`. Rejects when the port is taken.
 */
export async function listenHttp(options: HttpOptions): Promise<HttpServer> {
  const { port, addresses = null } = options;
  await using opening = new AsyncDisposableStack();
  const servers: Server[] = [];
  for (const address of addresses ?? [null]) {
    const server = makeServer(options);
    opening.defer(async () => closeServer(server));
    if (address === null) await listenEverywhere(server, port);
    else await listenOn(server, port, address);
    servers.push(server);
  }
  const closing = opening.move();
  const address = servers[0]?.address() ?? null;
  return {
    port: address !== null && typeof address === "object" ? address.port : port,
    [Symbol.asyncDispose]: async () => await closing.disposeAsync(),
  };
}

function makeServer({ respond, take = null, log }: HttpOptions): Server {
  const server = createServer((request, response) => {
    if (take?.(request, response) === true) return;
    void answer(request, response, respond, log);
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.maxHeadersCount = 50;
  server.maxConnections = CONNECTIONS_MOST;
  // While it listens; what keeps it from listening rejects.
  server.on("listening", () => {
    server.on("error", (error) =>
      log.warn("the check port reported an error", { because: messageOf(error) }),
    );
  });
  return server;
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

async function listenEverywhere(server: Server, port: number): Promise<void> {
  try {
    await listenOn(server, port, "::");
  } catch (error) {
    if (!isCode(error, "EAFNOSUPPORT") && !isCode(error, "EADDRNOTAVAIL")) throw error;
    await listenOn(server, port, "0.0.0.0");
  }
}

async function listenOn(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, ipv6Only: false }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  respond: Responder,
  log: Log,
): Promise<void> {
  response.on("error", () => undefined);
  if (request.method !== "GET" && request.method !== "HEAD") {
    send(response, { status: 405, text: "only GET" });
    return;
  }
  const path = (request.url ?? "/").split("?")[0] ?? "/";
  try {
    send(response, (await respond(path)) ?? { status: 404, text: "no such check" });
  } catch (error) {
    log.warn("a check broke", { path, because: messageOf(error) });
    send(response, { status: 500, text: "the check itself broke; the log says why" });
  }
}

function send(
  response: ServerResponse,
  { status, text, contentType = "text/plain; charset=utf-8" }: HttpAnswer,
): void {
  response.writeHead(status, {
    "content-type": contentType,
    "cache-control": "no-store",
    connection: "close",
  });
  response.end(text);
}

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MOST = 200;
