// What happens to a primary, or between members and the store, in the seeded trials: how it begins, how it ends, who may lead then.

import type { ImageCluster } from "./image-cluster.ts";

export interface Fault {
  readonly name: string;
  /** What the gap is judged as. */
  readonly class: "kill" | "cut" | "none" | "switchover";
  /** Another one must lead: true. The same one: false. Either: null. */
  readonly replaces: boolean | null;
  begin(cluster: ImageCluster, primary: string): Promise<void>;
  end(cluster: ImageCluster, primary: string): Promise<void>;
}

const nothing = async (): Promise<void> => undefined;

const addressesOf = async (cluster: ImageCluster, names: readonly string[]): Promise<readonly string[]> =>
  await Promise.all(names.map((name) => cluster.get(name).address()));

const peersOf = (cluster: ImageCluster, name: string): readonly string[] =>
  cluster.others(name).map((other) => other.name);

export const FAULTS: readonly Fault[] = [
  {
    name: "kill",
    class: "kill",
    replaces: true,
    begin: async (cluster, primary) => await cluster.get(primary).kill(),
    end: async (cluster, primary) => await cluster.get(primary).start(),
  },
  {
    // Everything but the client: the old primary's own port stays in reach.
    name: "packets dropped to members and store",
    class: "cut",
    replaces: true,
    begin: async (cluster, primary) => {
      const peers = await addressesOf(cluster, peersOf(cluster, primary));
      await cluster.drop(primary, [...peers, cluster.bench.s3.address]);
    },
    end: async (cluster, primary) => await cluster.undrop(primary),
  },
  {
    name: "switchover",
    class: "switchover",
    replaces: true,
    begin: async (cluster, primary) => {
      const ran = await cluster.get(primary).exec("holdfast", "cluster", "switchover");
      if (ran.status !== 0) throw new Error(`switchover: ${ran.stdout}${ran.stderr}`);
    },
    end: nothing,
  },
  {
    name: "pause",
    class: "cut",
    replaces: true,
    begin: async (cluster, primary) => await cluster.get(primary).pause(),
    end: async (cluster, primary) => await cluster.get(primary).resume(),
  },
  {
    name: "the primary loses the store",
    class: "none",
    replaces: false,
    begin: async (cluster, primary) => await cluster.drop(primary, [cluster.bench.s3.address]),
    end: async (cluster, primary) => await cluster.undrop(primary),
  },
  {
    name: "network disconnected",
    class: "cut",
    replaces: true,
    begin: async (cluster, primary) => await cluster.cut(primary),
    end: async (cluster, primary) => await cluster.heal(primary),
  },
  {
    name: "the primary loses its members, not the store",
    class: "none",
    replaces: false,
    begin: async (cluster, primary) =>
      await cluster.drop(primary, await addressesOf(cluster, peersOf(cluster, primary))),
    end: async (cluster, primary) => await cluster.undrop(primary),
  },
  {
    name: "the postmaster is killed",
    class: "kill",
    replaces: null,
    begin: async (cluster, primary) => {
      const ran = await cluster.get(primary).shell('kill -9 "$(head -1 /data/*/postmaster.pid)"');
      if (ran.status !== 0) throw new Error(`kill: ${ran.stdout}${ran.stderr}`);
    },
    end: nothing,
  },
  {
    name: "the primary's volume is full",
    class: "cut",
    replaces: true,
    begin: async (cluster, primary) => {
      await cluster.get(primary).shell("fallocate -l 1T /data/filler || cat /dev/zero > /data/filler");
    },
    end: async (cluster, primary) => {
      const node = cluster.get(primary);
      if (!(await node.running())) await node.start();
      await node.shell("rm -f /data/filler");
    },
  },
  {
    name: "a standby loses the store and the primary",
    class: "none",
    replaces: false,
    begin: async (cluster, primary) => {
      const [first] = peersOf(cluster, primary);
      const others = await addressesOf(cluster, [primary]);
      await cluster.drop(first!, [...others, cluster.bench.s3.address]);
    },
    end: async (cluster, primary) => await cluster.undrop(peersOf(cluster, primary)[0]!),
  },
  {
    name: "kill, and back at once",
    class: "kill",
    replaces: null,
    begin: async (cluster, primary) => {
      await cluster.get(primary).kill();
      await cluster.get(primary).start();
    },
    end: nothing,
  },
];
