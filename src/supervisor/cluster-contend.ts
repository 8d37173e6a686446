// A former primary leads again: fence, junction, roster, Postgres; or, with the store away and everybody in sight, Postgres at once (G7).

import { messageOf } from "../base/errors.ts";
import { claimRoster, declareRoster, isOrphaned, type Roster } from "../cluster/roster.ts";
import { changeRoster } from "../cluster/roster-store.ts";
import { formatSynchronousNames, synchronousNamesAtStart } from "../cluster/synchronous.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import type { ControlFile } from "../postgres/control-file.ts";
import { markComplete, readCompletion, readControlFile } from "../postgres/data-directory.ts";
import type { Server } from "../postgres/server.ts";
import type { LogView } from "../tail/read.ts";
import { NO_PROMOTION } from "../tail/slot.ts";
import { TakeOverRefusedError } from "../tail/take-over.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import { localPath } from "../archive/local-wal.ts";
import { readSourceLog } from "../archive/archive-source.ts";
import { wasAdmitted } from "./admission.ts";
import type { Cluster } from "./cluster.ts";
import { Lead } from "./cluster-lead.ts";
import { ensureContents } from "./founding.ts";
import type { Verbs } from "./front.ts";
import { type LogTerm, type PromotionIds, startLogTerm } from "./log-term.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import { firstBackup } from "./primary-term.ts";
import { forgetPromotion, readPromotion } from "./promotion-mark.ts";

export type Begun =
  | ({ readonly kind: "leads"; readonly lead: Lead; readonly server: Server } & AsyncDisposable)
  | { readonly kind: "suspect"; readonly because: string }
  | { readonly kind: "again"; readonly because: string };

/** T1 to T6, then Postgres with closed doors; the mind opens them. */
export async function contend(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<Begun> {
  const { paths, state, postgres, clock, stop } = node;
  const until = AbortSignal.any([stop.stopping, node.interrupts.signal]);
  const control = await readControlFile(paths.dataDirectory);
  await using parts = new AsyncDisposableStack();
  try {
    state.enter("starting", "reading the log");
    const view = await readSourceLog(sourceOf(node, control.systemId, control.segmentBytes), until);
    const objection = glance(view, await localPath(paths.dataDirectory));
    if (objection !== null) return { kind: "suspect", because: objection };
    state.enter("starting", "taking the log over");
    const ids = await promotionIds(node);
    const limit = AbortSignal.timeout(TAKE_OVER_LIMIT_MS);
    const logTerm = parts.use(
      await startLogTerm(node, control, ids, AbortSignal.any([until, limit]), { known: view, refuses: true }),
    );
    const fencedMs = clock.monotonicMs();
    node.log.info(`junction: ${logTerm.junction.kind}`, { because: logTerm.junction.because });
    if (logTerm.junction.kind === "suspect") return { kind: "suspect", because: logTerm.junction.because };
    const claimed = await claim(node, cluster, logTerm, until);
    if (claimed.kind !== "roster") return claimed;
    const { roster } = claimed;
    const names = synchronousNamesAtStart(roster, node.settings.nodeName, cluster.settings.mind.synchronous);
    state.enter("starting", "Postgres starts");
    const server = parts.use(
      await postgres.start({
        role: { ...NO_ROLE, synchronousStandbyNames: formatSynchronousNames(names) },
        recovers: false,
        fromElsewhere: false,
        archives: true,
      }),
    );
    await server.ready(until, (status) => state.enter("starting", `Postgres is ${status ?? "starting"}`));
    const lead = parts.use(
      await Lead.begin({ node, verbs, cluster, server, control, isPromoted: false }, logTerm, names),
    );
    cluster.engage(lead.perform, lead.tick);
    await logTerm.attach(verbs, lead.signal);
    await logTerm.accepted(AbortSignal.any([until, logTerm.lost]));
    if (logTerm.junction.kind === "bring") await noteBrought(node, control, ids);
    // Waiting for a standby that is not there must not hold up the start: what is new is written after the doors are open.
    if (names.length === 0) await ensureContents(node);
    await firstBackup(node, logTerm, until);
    cluster.became({ kind: "primary", epoch: logTerm.claim.epoch, fencedMs, roster });
    return leading(lead, server, parts.move());
  } catch (error) {
    stop.stopping.throwIfAborted();
    const kind = error instanceof TakeOverRefusedError ? "suspect" : "again";
    return { kind, because: messageOf(error) };
  }
}

/** G7: the junction is made up for as soon as the store answers. */
export async function leadWithoutStore(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<Begun> {
  const { paths, state, postgres, stop } = node;
  const until = AbortSignal.any([stop.stopping, node.interrupts.signal]);
  const control = await readControlFile(paths.dataDirectory);
  const roster = cluster.mind.roster;
  if (roster === null || !(await wasAdmitted(paths, control.systemId)))
    return {
      kind: "again",
      because: "the store does not answer, and this volume does not know the cluster well enough",
    };
  await using parts = new AsyncDisposableStack();
  try {
    const names = synchronousNamesAtStart(roster, node.settings.nodeName, cluster.settings.mind.synchronous);
    state.enter("starting", "Postgres starts; the store does not answer");
    const server = parts.use(
      await postgres.start({
        role: { ...NO_ROLE, synchronousStandbyNames: formatSynchronousNames(names) },
        recovers: false,
        fromElsewhere: false,
        archives: true,
      }),
    );
    await server.ready(until, (status) => state.enter("starting", `Postgres is ${status ?? "starting"}`));
    const lead = parts.use(
      await Lead.begin({ node, verbs, cluster, server, control, isPromoted: false }, null, names),
    );
    let joining: Promise<void> | null = null;
    const over = new AbortController();
    const whileLeading = AbortSignal.any([lead.signal, over.signal]);
    cluster.engage((effect) => {
      if (effect.kind === "take-over") joining ??= makeUp(node, verbs, cluster, lead, control, whileLeading);
      else lead.perform(effect);
    }, lead.tick);
    parts.defer(async () => {
      // A fence of a term that is over would only disturb the next owner.
      over.abort(new Error("the term is over"));
      await joining?.catch(() => undefined);
      await lead.logTerm?.[Symbol.asyncDispose]();
    });
    cluster.became({ kind: "primary", epoch: null, fencedMs: null, roster });
    return leading(lead, server, parts.move());
  } catch (error) {
    stop.stopping.throwIfAborted();
    return { kind: "again", because: messageOf(error) };
  }
}

/** The store answers again, perhaps: fence and junction behind a server that runs. S3 closes the doors. */
async function makeUp(
  node: NodeContext,
  verbs: Verbs,
  cluster: Cluster,
  lead: Lead,
  control: ControlFile,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = node;
  try {
    const logTerm = await startLogTerm(node, control, await promotionIds(node), signal, { refuses: true });
    const fencedMs = clock.monotonicMs();
    lead.join(logTerm);
    log.info(`junction: ${logTerm.junction.kind}`, { because: logTerm.junction.because });
    if (logTerm.junction.kind === "suspect") {
      log.error("the log does not let this node lead", { because: logTerm.junction.because });
      logTerm.giveUp(logTerm.junction.because);
      return;
    }
    const claimed = await claim(node, cluster, logTerm, signal);
    if (claimed.kind !== "roster") {
      logTerm.giveUp(claimed.because);
      return;
    }
    await logTerm.attach(verbs, signal);
    await logTerm.accepted(AbortSignal.any([signal, logTerm.lost]));
    cluster.mind.onTakenOver(logTerm.claim.epoch, fencedMs, claimed.roster, cluster.nowMs);
    cluster.poke();
  } catch (error) {
    if (signal.aborted) return;
    const because = messageOf(error);
    if (error instanceof TakeOverRefusedError) lead.finish({ kind: "shut", because });
    else log.warn("the log was not taken over yet", { because });
  }
}

function leading(lead: Lead, server: Server, parts: AsyncDisposableStack): Begun {
  return {
    kind: "leads",
    lead,
    server,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Who continues its own timeline made every acknowledgement itself; who brings one needs the roster's word. */
async function claim(
  node: NodeContext,
  cluster: Cluster,
  logTerm: LogTerm,
  signal: AbortSignal,
): Promise<{ readonly kind: "roster"; readonly roster: Roster } | Exclude<Begun, { kind: "leads" }>> {
  const { store, clock, log } = node;
  const { self, mind } = cluster.settings;
  const { volume } = cluster.local;
  const { epoch } = logTerm.claim;
  const isBringing = logTerm.junction.kind === "bring";
  const isFounding = logTerm.junction.kind === "genesis";
  const holder = { name: self.name, volume };
  const outcome = await changeRoster(
    store,
    (found) => {
      const inSight = cluster.mind
        .views(cluster.nowMs)
        .flatMap(({ sight, report }) => (sight.kind === "alive" && report !== null ? report : []));
      const wish = claimRoster(
        found,
        {
          ...holder,
          epoch,
          isOrphaned: found !== null && isOrphaned(found, [...inSight, holder]),
          isContinuing: !isBringing,
        },
        // A founder is alone until others show up.
        isFounding ? [] : cluster.members.map(({ name }) => name),
      );
      if (wish.kind === "refused") return wish;
      const isSynchronous = mind.synchronous !== null;
      const isNewMode = (wish.roster.inSync !== null) !== isSynchronous;
      return isBringing || isNewMode
        ? { kind: "write", roster: declareRoster(wish.roster, holder, isSynchronous) }
        : wish;
    },
    { clock, log, signal },
  );
  if (outcome.kind === "written") return { kind: "roster", roster: outcome.roster };
  return { kind: "suspect", because: outcome.because };
}

async function promotionIds({ paths }: NodeContext): Promise<PromotionIds> {
  const pending = await readPromotion(paths);
  if (pending !== null) return pending;
  const promotion = (await readCompletion(paths))?.promotionId ?? NO_PROMOTION;
  return { promotion, parentPromotion: promotion };
}

/** A promotion of an earlier life is accepted now. */
async function noteBrought(
  { paths, clock }: NodeContext,
  control: ControlFile,
  ids: PromotionIds,
): Promise<void> {
  await markComplete(paths, {
    systemId: control.systemId,
    role: "primary",
    promotionId: ids.promotion,
    origin: "promoted",
    writtenMs: clock.now(),
  });
  await forgetPromotion(paths);
}

/** What can be told without a fence: a fence put in vain costs the one who leads a takeover (T7). */
function glance(view: LogView | null, local: TimelinePath): string | null {
  const tip = view?.tip ?? null;
  if (tip === null) return null;
  const own = lastStep(local).timeline;
  if (own < tip.timeline) return `the log is on timeline ${tip.timeline}, this volume on ${own}`;
  return null;
}

const TAKE_OVER_LIMIT_MS = 30_000;
