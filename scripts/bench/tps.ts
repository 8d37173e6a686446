// What Holdfast costs a busy database: pgbench on the same image with the supervisor and streamer, and with Postgres alone.
//   node scripts/bench/tps.ts [--seconds 20] [--rounds 3] [--clients 8]
// Needs the image (./scripts/test builds it) and Docker. Both databases live at once; rounds alternate; medians are compared.

import { setTimeout as sleep } from "node:timers/promises";
import { Bench, type ImageNode } from "../../test/support/image.ts";
import { median } from "./measure.ts";

const option = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(`--${name}`);
  return at === -1 ? fallback : Number(process.argv[at + 1]);
};
const seconds = option("seconds", 20);
const rounds = option("rounds", 3);
const clients = option("clients", 8);
const SCALE = 20;

/** The same programs and settings without a supervisor, a streamer or an archive. */
const BARE = `
set -e
install -d -o postgres -g postgres /data/bare /run/postgresql
runuser -u postgres -- initdb -D /data/bare -k -A trust > /dev/null
cp /tmp/holdfast.conf /data/bare/postgresql.auto.conf
exec runuser -u postgres -- postgres -D /data/bare -c port=5433 -c archive_mode=off -c listen_addresses=''
`;

await using bench = await Bench.open();
const holdfast = await bench.run({ env: bench.s3Env(), name: "holdfast" });
await holdfast.ready(120_000);
// Memory settings and the like follow the machine; take them over so that only the supervisor differs.
const names = ["shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_buffers", "wal_level", "wal_log_hints", "max_connections", "effective_cache_size", "shared_preload_libraries", "wal_compression"]; // prettier-ignore
const settings = await Promise.all(
  names.map(async (name) => `${name} = '${await holdfast.sql(`show ${name}`)}'`),
);
const bare = await bench.run({
  env: {},
  name: "bare",
  options: ["--entrypoint", "bash"],
  command: ["-c", `printf '%s\\n' "$0" > /tmp/holdfast.conf; ${BARE}`, settings.join("\n")],
});
await sleep(5000);
for (const node of [holdfast, bare]) await pgbench(node, `-i -q -s ${SCALE}`);

const tps: Record<string, number[]> = { holdfast: [], bare: [] };
let peakKb = 0;
for (let round = 1; round <= rounds; round += 1) {
  for (const [name, node] of [
    ["bare", bare],
    ["holdfast", holdfast],
  ] as const) {
    // prettier-ignore
    const watch = name === "holdfast" ? watchMemory() : null;
    const text = await pgbench(node, `-N -M prepared -c ${clients} -j 2 -T ${seconds}`);
    peakKb = Math.max(peakKb, (await watch?.stop()) ?? 0);
    tps[name]!.push(Number(/tps = ([0-9.]+)/.exec(text)?.[1]));
    console.log(`round ${round} ${name}: ${tps[name]!.at(-1)?.toFixed(0)} tps`);
  }
}
const [with_, without] = [median(tps["holdfast"]!), median(tps["bare"]!)];
console.log(
  `median: ${with_.toFixed(0)} tps with Holdfast, ${without.toFixed(0)} without: ${((1 - with_ / without) * 100).toFixed(1)} % less`,
);
console.log(`supervisor's resident memory under load: at most ${(peakKb / 1024).toFixed(0)} MB`);

async function pgbench(node: ImageNode, args: string): Promise<string> {
  const ran = await node.shell(`pgbench -h /run/postgresql -p 5433 -U postgres ${args} postgres 2>&1`);
  if (ran.status !== 0) throw new Error(`pgbench ${args}: ${ran.stdout}`);
  return ran.stdout;
}

/** Samples VmRSS of the supervisor each second. */
function watchMemory(): { stop: () => Promise<number> } {
  const stopped = new AbortController();
  let peak = 0;
  const loop = (async () => {
    while (!stopped.signal.aborted) {
      const ran = await holdfast.shell("grep VmRSS /proc/$(cut -d' ' -f1 /proc/1/task/1/children)/status");
      peak = Math.max(peak, Number(/(\d+) kB/.exec(ran.stdout)?.[1] ?? 0));
      await sleep(1000);
    }
  })();
  return {
    stop: async () => {
      stopped.abort();
      await loop;
      return peak;
    },
  };
}
