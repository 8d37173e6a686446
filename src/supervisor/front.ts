// What the supervisor answers on: checks (5500), metrics (9187), the local socket. It is there from the first moment to the last.

import { mkdir } from "node:fs/promises";
import type { Clock } from "../base/clock.ts";
import { formatLossless } from "../base/lossless-json.ts";
import type { Log } from "../base/log.ts";
import type { OsUser } from "../postgres/os-user.ts";
import { answerCheck } from "./health.ts";
import { listenHttp, type TakeRequest } from "./http.ts";
import { listenLocally, type VerbHandler } from "./local-socket.ts";
import { makeMetrics } from "./metrics.ts";
import type { NodeSettings } from "./node-context.ts";
import type { NodeState } from "./node-state.ts";

/** Verbs come and go with the node's role: `archive` only while a streamer runs, `restore` only while something is recovered. */
export class Verbs {
  readonly #handlers = new Map<string, VerbHandler>();
  readonly #clock: Pick<Clock, "sleep">;
  /** From a stop on nothing is waited for (W8). */
  readonly #isStopping: () => boolean;

  constructor(clock: Pick<Clock, "sleep">, isStopping: () => boolean) {
    this.#clock = clock;
    this.#isStopping = isStopping;
  }

  /** Answers `verb` until the returned function is called. */
  set(verb: string, handler: VerbHandler): () => void {
    this.#handlers.set(verb, handler);
    return () => {
      if (this.#handlers.get(verb) === handler) this.#handlers.delete(verb);
    };
  }

  /**
   * Hands the request on. Without a handler Postgres is told to ask again (archive), after a moment in which the streamer of a server that
   * just came up may appear, so that a start is no failure in pg_stat_archiver; or to stop rather than guess (restore).
   */
  readonly dispatch =
    (verb: string): VerbHandler =>
    async (args, signal) => {
      for (let waitedMs = 0; ; waitedMs += LOOK_EVERY_MS) {
        const handler = this.#handlers.get(verb);
        if (handler !== undefined) return await handler(args, signal);
        if (verb !== "archive" || this.#isStopping() || waitedMs >= STREAMER_LIMIT_MS) break;
        await this.#clock.sleep(LOOK_EVERY_MS, signal);
      }
      return { lines: [`the supervisor answers no "${verb}" now`], exit: verb === "restore" ? 255 : 1 };
    };
}

export interface FrontOptions {
  readonly settings: Pick<NodeSettings, "ports" | "listenAddresses" | "runDirectory" | "socketPath">;
  readonly state: NodeState;
  readonly verbs: Verbs;
  readonly owner: OsUser | null;
  readonly log: Log;
  /** Members' messages come in by the port of checks. */
  readonly takeRequest: TakeRequest | null;
}

/** Opens all three. Rejects when a port is taken. */
export async function openFront({
  settings,
  state,
  verbs,
  owner,
  log,
  takeRequest,
}: FrontOptions): Promise<AsyncDisposable> {
  await using opening = new AsyncDisposableStack();
  const metrics = makeMetrics(() => state.view());
  opening.use(
    await listenHttp({
      port: settings.ports.checks,
      addresses: settings.listenAddresses,
      log,
      respond: (path) => answerCheck(path, state.view()),
      take: takeRequest,
    }),
  );
  opening.use(
    await listenHttp({
      port: settings.ports.metrics,
      addresses: settings.listenAddresses,
      log,
      respond: async (path) =>
        path === "/metrics"
          ? { status: 200, text: await metrics.render(), contentType: metrics.contentType }
          : null,
    }),
  );
  await mkdir(settings.runDirectory, { recursive: true, mode: 0o755 });
  opening.use(
    await listenLocally({
      path: settings.socketPath,
      owner,
      log,
      verbs: {
        archive: verbs.dispatch("archive"),
        restore: verbs.dispatch("restore"),
        hook: verbs.dispatch("hook"),
        call: verbs.dispatch("call"),
        cluster: verbs.dispatch("cluster"),
        status: async () => ({ lines: [formatLossless(state.view())], exit: 0 }),
      },
    }),
  );
  return opening.move();
}

const LOOK_EVERY_MS = 50;
const STREAMER_LIMIT_MS = 3_000;
