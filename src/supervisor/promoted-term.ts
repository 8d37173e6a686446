// A term as primary that begins with a promotion: a replay of the archive or of the directory that is there.

import { markComplete, readControlFile } from "../postgres/data-directory.ts";
import type { ReplayOrder } from "../recovery/replay-order.ts";
import type { Verbs } from "./front.ts";
import type { NodeContext } from "./node-context.ts";
import { serveAndClose, type TermEnd } from "./primary-term.ts";
import { type Promoted, replayAndPromote } from "./replaying.ts";

/** What a term that begins with a promotion leaves behind. */
export interface PromotedTerm {
  /** Goes into the mark of completion. */
  readonly origin: string;
  /** Once the log accepted the timeline, before the mark of completion. */
  readonly onAccepted?: () => Promise<void>;
  /** Behind the mark. */
  readonly onMarked?: () => Promise<void>;
}

/** Replays the directory that is there, promotes it to a new timeline and leads on it. */
export async function leadRestored(
  node: NodeContext,
  verbs: Verbs,
  order: ReplayOrder,
  term: PromotedTerm,
): Promise<TermEnd> {
  // A target stays in pg_settings until the server starts again.
  return await leadPromoted(
    node,
    verbs,
    await replayAndPromote(node, verbs, order),
    term,
    order.target.kind !== "latest",
  );
}

/** Leads on a server that is promoted and whose history slot is owed. */
export async function leadPromoted(
  node: NodeContext,
  verbs: Verbs,
  { server, logTerm, promotion }: Promoted,
  { origin, onAccepted, onMarked }: PromotedTerm,
  restarts = false,
): Promise<TermEnd> {
  const { paths, state, clock } = node;
  await using term = new AsyncDisposableStack();
  term.use(logTerm);
  const control = await readControlFile(paths.dataDirectory);
  state.enter("starting", logTerm.junction.because);
  return await serveAndClose(node, verbs, {
    server,
    joining: Promise.resolve(logTerm),
    control,
    startedMs: clock.monotonicMs(),
    doorsFirst: false,
    // Only now is the volume a primary's: one that dies before starts over (G6).
    onAccepted: async () => {
      await onAccepted?.();
      await markComplete(paths, {
        systemId: control.systemId,
        role: "primary",
        promotionId: promotion,
        origin,
        writtenMs: clock.now(),
      });
      await onMarked?.();
    },
    // A member's doors are the mind's: it contends with what the log accepted.
    restarts: restarts || node.cluster !== null,
  });
}
