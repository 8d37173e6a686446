// The gate's step "fetch" (G2, G3): a standby is brought to the end of the log before it is promoted.

import { LocalWal, pathFromFiles, pgWal } from "../archive/local-wal.ts";
import { bytesToCompare } from "../tail/junction.ts";
import type { LogView } from "../tail/read.ts";
import type { Claim } from "../tail/take-over.ts";
import { formatLsn, type Lsn, lsnOf } from "../wal/lsn.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import type { Standby } from "./cluster-standby.ts";
import { GateRefusal } from "./gate-refusal.ts";
import { makeOwner } from "./log-term.ts";
import type { NodeContext } from "./node-context.ts";

/**
 * Brings what the log has beyond this standby's WAL: everything accepted, replayed to RE(End) and to the end of what is here; the bytes equal.
 * Resolves to where Postgres stands, at a record's end. Throws GateRefusal, or another error when it is not there yet: to be asked again.
 */
export async function fetchRest(
  node: NodeContext,
  standby: Standby,
  claim: Claim,
  signal: AbortSignal,
): Promise<Lsn> {
  const { paths, clock } = node;
  const { command, control } = standby;
  const { view } = claim;
  await standby.detach();
  command.setSituation("catch-up");
  await command.freeze(view.tip === null ? null : view);
  const { owner, ended } = makeOwner(node, claim);
  try {
    const target = view.tip === null ? null : (await owner.recordEndOfLog()).at;
    const begunMs = clock.monotonicMs();
    for (;;) {
      signal.throwIfAborted();
      const { replayed, timeline, receiving } = await standby.measure(signal);
      const alarm = command.status().alarms[0];
      if (alarm !== undefined) throw new GateRefusal(alarm);
      const path = await pathFromFiles(pgWal(paths.dataDirectory), timeline);
      const local = new LocalWal(pgWal(paths.dataDirectory), path, control.segmentBytes);
      const isThere = !receiving && replayed !== null && (target === null || replayed >= target);
      // Postgres stands where the complete records of its own WAL end: nothing that was received is left out.
      const end = isThere ? await local.completeEnd(replayed, control.systemId) : null;
      if (end !== null && replayed !== null && end <= replayed) {
        if (target !== null) await compare(owner, view, local, path, target);
        return replayed;
      }
      if (clock.monotonicMs() - begunMs > FETCH_LIMIT_MS)
        throw new Error(
          [
            `replayed to ${lsnText(replayed)}`,
            ...(target === null ? [] : [`the log's records end at ${formatLsn(target)}`]),
            ...(end === null ? [] : [`pg_wal's at ${formatLsn(end)}`]),
            ...(receiving ? ["the WAL receiver still runs"] : []),
          ].join(", "),
        );
      await clock.sleep(POLL_MS, signal);
    }
  } finally {
    await owner.close();
    ended.abort(new Error("compared"));
  }
}

/** T6's comparison, on the files of the running standby. */
async function compare(
  owner: ReturnType<typeof makeOwner>["owner"],
  view: LogView,
  local: LocalWal,
  path: TimelinePath,
  recordEnd: Lsn,
): Promise<void> {
  const tip = view.tip!;
  if (lastStep(path).timeline !== tip.timeline)
    throw new GateRefusal(`it is on timeline ${lastStep(path).timeline}, the log on ${tip.timeline}`);
  const range = bytesToCompare({ log: view, recordEnd }, { path });
  if (range === null) return;
  let at = range.from;
  for await (const piece of local.read(range.from, range.to)) {
    const end = lsnOf(at + BigInt(piece.byteLength));
    // Behind the last record a local file may hold less than the log: the head of a record that never became whole.
    const until = end > recordEnd ? recordEnd : end;
    if (until > at) {
      const ours = await owner.read(tip.path, at, until);
      if (Buffer.compare(ours, piece.subarray(0, ours.byteLength)) !== 0)
        throw new GateRefusal(
          `its WAL differs from the log's between ${formatLsn(at)} and ${formatLsn(until)}`,
        );
    }
    at = end;
  }
}

const lsnText = (lsn: Lsn | null): string => (lsn === null ? "nowhere" : formatLsn(lsn));

const POLL_MS = 10;
const FETCH_LIMIT_MS = 15_000;
