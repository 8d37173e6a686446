// A cluster for one test, and a client's book over it; both end with the test.

import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ClusterLedger } from "./cluster-ledger.ts";
import { type ClusterOptions, ImageCluster } from "./image-cluster.ts";
import { Bench } from "./image.ts";

/** Starts the nodes on a bench of their own; resolves when all of them are there. */
export async function openCluster(
  t: TestContext,
  names: readonly string[],
  more: ClusterOptions = {},
): Promise<ImageCluster> {
  const bench = await Bench.open();
  t.after(() => bench[Symbol.asyncDispose]());
  return await ImageCluster.start(bench, names, more);
}

/** Writes through every node's proxy port; resolves after some seconds of it. */
export async function underLoad(t: TestContext, cluster: ImageCluster): Promise<ClusterLedger> {
  const hosts = await Promise.all(cluster.nodes.map(({ node }) => node.address()));
  await ClusterLedger.create(hosts[0]!);
  const ledger = new ClusterLedger(hosts);
  t.after(() => ledger.stop());
  ledger.start();
  await sleep(3_000);
  return ledger;
}
