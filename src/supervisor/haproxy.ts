// HAProxy as the door for clients: its configuration, and orders over its runtime socket.

import { connect } from "node:net";
import { AppError } from "../base/errors.ts";

export interface ProxyPorts {
  readonly readWrite: number;
  readonly readOnly: number;
}

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

/**
 * The configuration file. Both backends begin in maintenance: a connection is closed at once until the doors open. `user` is null when
 * HAProxy already runs as an ordinary user.
 */
export function renderProxyConfig(options: {
  readonly ports: ProxyPorts;
  /** null: everywhere. */
  readonly addresses: readonly string[] | null;
  readonly socketPath: string;
  readonly user: string | null;
  readonly standbys: number;
}): string {
  const { ports, addresses, socketPath, user, standbys } = options;
  const binds = (port: number): readonly string[] =>
    addresses === null ? [`  bind :::${port} v4v6`] : addresses.map((address) => `  bind ${address}:${port}`);
  const server = (name: string): string => `  server ${name} 127.0.0.1:5433 disabled`;
  return [
    "global",
    "  maxconn 4000",
    `  stats socket ${socketPath} mode 600 level admin`,
    ...(user === null ? [] : [`  user ${user}`]),
    "  log stdout format raw local0 warning",
    "",
    "defaults",
    "  mode tcp",
    "  log global",
    "  option clitcpka",
    "  option srvtcpka",
    "  timeout connect 5s",
    "  timeout queue 5s",
    // An idle session may stay open for days: Postgres has its own limits.
    "  timeout client 24d",
    "  timeout server 24d",
    "  retries 2",
    "",
    "frontend read_write",
    ...binds(ports.readWrite),
    "  default_backend primary",
    "",
    "frontend read_only",
    ...binds(ports.readOnly),
    "  default_backend standbys",
    "",
    "backend primary",
    server("p0"),
    "",
    "backend standbys",
    "  balance leastconn",
    ...Array.from({ length: standbys }, (_, index) => server(`s${index}`)),
    "",
  ].join("\n");
}

/** Orders that make both backends point at these targets, in one go; what is not named goes into maintenance and its sessions are cut. */
export function routeOrders(
  route: { readonly primary: ProxyTarget | null; readonly standbys: readonly ProxyTarget[] },
  slots: number,
): readonly string[] {
  const orders = orderFor("primary/p0", route.primary);
  for (let index = 0; index < slots; index += 1)
    orders.push(...orderFor(`standbys/s${index}`, route.standbys[index] ?? null));
  return orders;
}

function orderFor(server: string, target: ProxyTarget | null): string[] {
  if (target === null) return [`set server ${server} state maint`, `shutdown sessions server ${server}`];
  return [`set server ${server} addr ${target.host} port ${target.port}`, `set server ${server} state ready`];
}

/** Sends orders over HAProxy's runtime socket; throws ProxyError when it does not answer or refuses one. */
export async function sendOrders(
  socketPath: string,
  orders: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const order of orders) {
    const answer = await ask(socketPath, order, signal);
    if (/unknown|no such|invalid|can't|cannot|error/i.test(answer))
      throw new ProxyError(`HAProxy refused "${order}": ${answer.trim()}`);
  }
}

async function ask(socketPath: string, order: string, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const socket = connect(socketPath);
  const limit = setTimeout(
    () => socket.destroy(new Error(`no answer within ${ANSWER_LIMIT_MS} ms`)),
    ANSWER_LIMIT_MS,
  );
  try {
    socket.write(`${order}\n`);
    socket.setEncoding("utf8");
    let text = "";
    for await (const piece of socket) text += String(piece);
    return text;
  } catch (error) {
    throw new ProxyError(`HAProxy does not answer on "${socketPath}"`, error);
  } finally {
    clearTimeout(limit);
    socket.destroy();
  }
}

export class ProxyError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, { code: "PROXY", hint: "read HAProxy's own lines in the log", cause });
  }
}

const ANSWER_LIMIT_MS = 3_000;
