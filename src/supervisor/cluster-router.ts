// Tells HAProxy where clients belong, as soon as that changes; sessions to a primary that was deposed are cut first.

import { messageOf } from "../base/errors.ts";
import type { MemberView } from "../cluster/evidence.ts";
import type { Report } from "../cluster/report.ts";
import { type ClusterRoute, decideRoute, sameRoute } from "../cluster/routing.ts";
import type { NodeContext } from "./node-context.ts";

export class ClusterRouter {
  readonly #node: Pick<NodeContext, "settings" | "doors" | "log">;
  readonly #lagLimitBytes: number;
  readonly #addressOf: (name: string) => string | null;
  #route: ClusterRoute = { primary: null, standbys: [] };
  #telling: Promise<void> = Promise.resolve();

  constructor(
    node: Pick<NodeContext, "settings" | "doors" | "log">,
    lagLimitBytes: number,
    addressOf: (name: string) => string | null,
  ) {
    this.#node = node;
    this.#lagLimitBytes = lagLimitBytes;
    this.#addressOf = addressOf;
  }

  /** Looks at what is known now; HAProxy is told in the background, one change after the other. */
  apply(self: Report, views: readonly MemberView[]): void {
    const { settings, log } = this.#node;
    const was = this.#route;
    const next = decideRoute({
      self,
      views,
      addressOf: this.#addressOf,
      port: settings.ports.postgres,
      lagLimitBytes: this.#lagLimitBytes,
      current: was,
    });
    if (sameRoute(next, was)) return;
    this.#route = next;
    if (was.primary?.host !== next.primary?.host)
      log.info("clients are sent elsewhere", {
        from: was.primary?.name ?? null,
        to: next.primary?.name ?? null,
      });
    this.#telling = this.#tell(this.#telling, was, next);
  }

  async #tell(before: Promise<void>, was: ClusterRoute, next: ClusterRoute): Promise<void> {
    const { doors, log } = this.#node;
    await before;
    try {
      const isOther = was.primary !== null && next.primary !== null && was.primary.host !== next.primary.host;
      if (isOther) await doors.route({ primary: null, standbys: next.standbys });
      await doors.route(next);
    } catch (error) {
      log.warn("HAProxy was not told", { because: messageOf(error) });
    }
  }
}
