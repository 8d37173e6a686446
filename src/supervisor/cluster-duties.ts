// What goes on beside the work: slots of the streamer and of every member, and repmgr's list. Bounded, and never in the way.

import { messageOf } from "../base/errors.ts";
import { memberSlotName } from "../cluster/members.ts";
import { planSlots, type SlotState } from "../cluster/slots-plan.ts";
import { databaseSizes } from "../postgres/queries.ts";
import { judgeSlots } from "../cluster/slots-watch.ts";
import { advanceSlot, dropSlot, ensureSlot, listSlots, type Slot } from "../postgres/slots.ts";
import type { Sql } from "../postgres/sql.ts";
import { type Lsn, ZERO_LSN } from "../wal/lsn.ts";
import type { Cluster } from "./cluster.ts";
import type { NodeContext } from "./node-context.ts";
import { watchRoom } from "./cluster-relief.ts";
import { keepRepmgr } from "./cluster-repmgr.ts";

/** A term, as far as its duties go. */
interface Term {
  readonly sql: Sql;
}

/** Until the term is over. */
export async function runPrimaryDuties(
  node: NodeContext,
  cluster: Cluster,
  term: Term,
  signal: AbortSignal,
): Promise<void> {
  const undo = cluster.answer("database-bytes", async () => {
    const sizes = await databaseSizes(term.sql, { signal });
    return String(sizes.reduce((sum, { bytes }) => sum + bytes, 0n));
  });
  signal.addEventListener("abort", undo, { once: true });
  const repmgr = keepRepmgr(node, cluster, term.sql, signal);
  let said: ReadonlySet<string> = new Set();
  void watchRoom(node, cluster, signal);
  await repeat(node, signal, SLOTS_MS, async () => {
    const slots = await keepSlots(node, cluster, term.sql, true, ZERO_LSN, null, signal);
    said = warnOfSlots(node, slots, said);
  });
  await repmgr;
}

/** Each trouble is said once; resolves to what is said now. */
function warnOfSlots(
  { log, settings }: NodeContext,
  slots: readonly Slot[],
  said: ReadonlySet<string>,
): ReadonlySet<string> {
  const warnings = judgeSlots(
    slots.map((slot) => ({
      ...slot,
      isActive: slot.active,
      isOurs:
        slot.kind === "physical" && (slot.name === settings.slot || slot.name.startsWith(MEMBER_PREFIX)),
    })),
  );
  for (const { key, sentence } of warnings) if (!said.has(key)) log.warn(sentence);
  return new Set(warnings.map(({ key }) => key));
}

/** A standby keeps the same slots, advanced: after a promotion nobody lacks WAL that is here. */
export async function runStandbyDuties(
  node: NodeContext,
  cluster: Cluster,
  sql: Sql,
  signal: AbortSignal,
): Promise<void> {
  let turns = 0;
  await repeat(node, signal, STANDBY_SLOTS_MS, async () => {
    const { mind, local } = cluster;
    // What the log holds is known when it matters: reading hundreds of slots takes longer than a failover may.
    if (turns % LOOK_TURNS === 0) cluster.lookAtLog();
    turns += 1;
    const lead = mind.views(cluster.nowMs).find(({ name }) => name === mind.primary);
    // Without a word from a primary nothing is let go.
    const durable = lead?.sight.kind === "alive" ? (lead.report?.durable ?? null) : null;
    if (durable === null) return;
    await keepSlots(node, cluster, sql, false, local.replayed, durable, signal);
  });
}

async function keepSlots(
  node: NodeContext,
  cluster: Cluster,
  sql: Sql,
  isPrimary: boolean,
  replayed: Lsn,
  durable: Lsn | null,
  signal: AbortSignal,
): Promise<readonly Slot[]> {
  const { settings, log } = node;
  const { mind } = cluster;
  const views = mind.views(cluster.nowMs);
  const own = settings.nodeName;
  // In the roster, or heard of late: who is about to join finds its slot, and keeps it over a moment of silence.
  const alive = views
    .filter(({ sight, report }) => sight.kind !== "gone" && report !== null)
    .map(({ name }) => name);
  const names = new Set([...(mind.roster?.members ?? []), ...alive]);
  names.delete(own);
  const reached = (name: string): Lsn | null =>
    views.find((view) => view.name === name)?.report?.replayed ?? null;
  const found = await listSlots(sql, { signal });
  const slots: SlotState[] = found.map((slot) => ({
    name: slot.name,
    isActive: slot.active,
    isPhysical: slot.kind === "physical",
    isLost: slot.walStatus === "lost",
    restart: slot.restart,
  }));
  const steps = planSlots({
    isPrimary,
    replayed,
    slots,
    streamer: { name: settings.slot, at: durable },
    members: [...names].map((name) => ({ name: memberSlotName(name), at: reached(name) })),
    prefix: MEMBER_PREFIX,
  });
  for (const step of steps) {
    signal.throwIfAborted();
    if (step.kind === "create") await ensureSlot(sql, step.name, { signal });
    else if (step.kind === "advance") await advanceSlot(sql, step.name, step.to, { signal });
    else {
      log.warn("a replication slot is dropped", { slot: step.name, because: step.because });
      await dropSlot(sql, step.name, { signal });
    }
    if (step.kind === "create") log.info("made a replication slot", { slot: step.name });
  }
  return found;
}

async function repeat(
  { clock, log }: NodeContext,
  signal: AbortSignal,
  everyMs: number,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) log.debug("a duty was not done", { because: messageOf(error) });
    }
    await clock.sleep(everyMs, signal).catch(() => undefined);
  }
}

const MEMBER_PREFIX = "holdfast_";
const SLOTS_MS = 1_000;
const STANDBY_SLOTS_MS = 5_000;
/** A standby looks at the log every 30 s while all is well. */
const LOOK_TURNS = 6;
