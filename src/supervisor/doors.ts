// The doors for clients: HAProxy in front, pg_hba.conf behind. Closed unless somebody opened them.

import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, waitUntil } from "../base/clock.ts";
import { writeDurably } from "../base/durable-file.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type ProxyTarget, renderProxyConfig, routeOrders, sendOrders } from "./haproxy.ts";
import type { NodeState } from "./node-state.ts";
import type { NodeSettings } from "./node-context.ts";
import { type Child, startChild } from "./process-tree.ts";

export interface Route {
  readonly primary: ProxyTarget | null;
  readonly standbys: readonly ProxyTarget[];
}

export const NOWHERE: Route = { primary: null, standbys: [] };

/** HAProxy as a child; it comes back by itself with the route that was last asked for. */
export class Doors {
  readonly #options: DoorsOptions;
  readonly #socketPath: string;
  #child: Child | null = null;
  #route: Route = NOWHERE;
  restarts = 0;

  constructor(options: DoorsOptions) {
    this.#options = options;
    this.#socketPath = join(options.settings.runDirectory, "haproxy.sock");
  }

  get child(): Child | null {
    return this.#child;
  }

  /** Starts HAProxy with closed doors. */
  async start(): Promise<Child> {
    const { settings, clock, log, asRoot } = this.#options;
    const folder = join(settings.runDirectory, "haproxy");
    await mkdir(folder, { recursive: true });
    const path = join(folder, "haproxy.cfg");
    const config = renderProxyConfig({
      ports: settings.ports,
      addresses: settings.listenAddresses,
      socketPath: this.#socketPath,
      user: asRoot ? "haproxy" : null,
      standbys: STANDBYS_MOST,
    });
    await writeDurably(path, config, 0o644);
    await chmod(folder, 0o755);
    this.#child = startChild(
      {
        name: "haproxy",
        file: "haproxy",
        args: ["-db", "-f", path],
        env: {},
        budget: { policy: "permanent", starts: 20, windowMs: 120_000, firstPauseMs: 50, mostPauseMs: 2_000 },
        stop: [{ signal: "SIGTERM", waitMs: 2_000 }],
        onLine: (line) => log.debug(line, { from: "haproxy" }),
      },
      {
        clock,
        log,
        onGone: () => {
          this.restarts += 1;
          void this.#apply();
        },
      },
    );
    return this.#child;
  }

  /** Sends clients there from now on; what is not named is cut. */
  async route(route: Route): Promise<void> {
    this.#route = route;
    await this.#apply();
  }

  async stop(): Promise<void> {
    await this.#child?.stop();
  }

  /** Tells HAProxy, which may just be starting. */
  async #apply(): Promise<void> {
    const { clock, log, ended } = this.#options;
    const told = async (): Promise<boolean> => {
      try {
        await sendOrders(this.#socketPath, routeOrders(this.#route, STANDBYS_MOST), ended);
        return true;
      } catch (error) {
        log.debug("HAProxy was not told yet", { because: messageOf(error) });
        return false;
      }
    };
    const inTime = await waitUntil(told, TELL_LIMIT_MS, { clock, pollMs: 50, signal: ended }).catch(
      () => true,
    );
    if (!inTime) log.error("HAProxy does not take its route", { limitMs: TELL_LIMIT_MS });
  }
}

export interface DoorsOptions {
  readonly settings: Pick<NodeSettings, "ports" | "listenAddresses" | "runDirectory">;
  readonly asRoot: boolean;
  readonly state: NodeState;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the supervisor ends. */
  readonly ended: AbortSignal;
}

/** Members that the read-only port can spread over. */
const STANDBYS_MOST = 8;
const TELL_LIMIT_MS = 10_000;
