// Seeded failovers of real clusters under a client's book: kills, pauses and cuts. HOLDFAST_SEEDS=100 runs them all; HOLDFAST_SEED repeats one.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, seeds } from "../support/image.ts";
import { ClusterLedger, ImageCluster } from "../support/image-cluster.ts";
import { percentile } from "../support/ledger.ts";
import { below, makeRandom } from "../support/random.ts";

/** A machine of two cores that runs everything at once is given this much more than the targets. */
const BUSY = Number(process.env["HOLDFAST_BUSY"] ?? 2);
const KINDS = ["kill", "pause", "cut"] as const;
type Kind = (typeof KINDS)[number];

interface Figures {
  readonly kind: Kind;
  readonly gapMs: number;
  readonly lost: number;
  readonly oldestLostMs: number;
}

for (const names of [
  ["n1", "n2"],
  ["n1", "n2", "n3"],
]) {
  for (const durability of ["async", "standby"]) {
    test(`${names.length} nodes, DURABILITY=${durability}`, async (t) => {
      const bench = await Bench.open();
      t.after(() => bench[Symbol.asyncDispose]());
      const cluster = await ImageCluster.start(bench, names, {
        DURABILITY: durability,
        DURABILITY_POLICY: "bounded",
        DURABILITY_GRACE: "5s",
      });
      const figures: Figures[] = [];
      for (const seed of seeds(3, 100)) figures.push(await trial(t, cluster, seed, durability));
      summarize(t, figures);
    });
  }
}

async function trial(
  t: TestContext,
  cluster: ImageCluster,
  seed: number,
  durability: string,
): Promise<Figures> {
  const random = makeRandom(seed);
  const kind = KINDS[below(random, KINDS.length)]!;
  const old = await cluster.whole(90_000);
  if (durability === "standby") await inSync(cluster, old);
  const hosts = await Promise.all(cluster.nodes.map(({ node }) => node.address()));
  await ClusterLedger.create(hosts[0]!);
  const ledger = new ClusterLedger(hosts);
  await ledger.continueBehind(await cluster.get(old).address());
  ledger.start();
  t.after(() => ledger.stop());
  await sleep(1_500 + random() * 2_500);
  const begun = performance.now();
  await begin(cluster, old, kind);
  const heir = await cluster.leads(60_000, old);
  await sleep(1_500);
  const gapMs = ledger.longestGapMs(begun - 300);
  await sleep(random() * 3_000);
  await end(cluster, old, kind);
  const lead = await cluster.whole(90_000);
  await sleep(500);
  await ledger.stop();
  const lost = await ledger.lost(await cluster.get(lead).address());
  // The oldest of them against the last acknowledgement before the fault showed.
  const lastMs = Math.max(
    0,
    ...ledger.entries.filter(({ ackMs }) => ackMs < begun + 1_000).map(({ ackMs }) => ackMs),
  );
  const oldestLostMs = lost.length === 0 ? 0 : Math.max(0, lastMs - lost[0]!.ackMs);
  const archive = await cluster.verify(lead);
  t.diagnostic(
    `seed ${seed}: ${kind} of ${old}, ${heir} leads, gap ${Math.round(gapMs)} ms, lost ${lost.length} (${Math.round(oldestLostMs)} ms)`,
  );
  assert.ok(archive.isSound, `seed ${seed}: ${archive.text}`);
  if (durability === "standby") assert.deepEqual(lost, [], `seed ${seed}: acknowledged rows are lost`);
  else assert.ok(oldestLostMs < 2_500, `seed ${seed}: a lost row was ${oldestLostMs} ms old`);
  return { kind, gapMs, lost: lost.length, oldestLostMs };
}

/** Waits until somebody may take over with nothing lost. */
async function inSync(cluster: ImageCluster, primary: string): Promise<void> {
  for (let waits = 0; waits < 120; waits += 1) {
    const status = await cluster.status(primary);
    if (status?.members.some((row) => row.inSync === true) === true) return;
    await sleep(300);
  }
  throw new Error(`nobody is in sync with ${primary}; ${await cluster.logs()}`);
}

async function begin(cluster: ImageCluster, name: string, kind: Kind): Promise<void> {
  if (kind === "kill") await cluster.get(name).kill();
  else if (kind === "pause") await cluster.get(name).pause();
  else await cluster.cut(name);
}

async function end(cluster: ImageCluster, name: string, kind: Kind): Promise<void> {
  if (kind === "kill") await cluster.get(name).start();
  else if (kind === "pause") await cluster.get(name).resume();
  else await cluster.heal(name);
}

function summarize(t: TestContext, figures: readonly Figures[]): void {
  for (const kind of KINDS) {
    const gaps = figures.filter((each) => each.kind === kind).map(({ gapMs }) => gapMs);
    if (gaps.length === 0) continue;
    const [p50, p99] = [percentile(gaps, 0.5), percentile(gaps, 0.99)];
    t.diagnostic(`${kind}: ${gaps.length}, gap p50 ${Math.round(p50)} ms, p99 ${Math.round(p99)} ms`);
    const target = kind === "kill" ? 5_000 : 10_000;
    assert.ok(p50 <= target * BUSY, `${kind}: p50 ${p50} ms`);
    assert.ok(p99 <= 15_000 * BUSY, `${kind}: p99 ${p99} ms`);
  }
  const lost = figures.reduce((sum, each) => sum + each.lost, 0);
  const oldest = Math.max(...figures.map(({ oldestLostMs }) => oldestLostMs));
  t.diagnostic(`lost in all ${lost}, the oldest ${Math.round(oldest)} ms before the last acknowledgement`);
}
