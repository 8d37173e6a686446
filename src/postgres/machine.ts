// What the machine gives us: the container's memory limit, its processors, the room on the volume.

import { readFile, statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";

export interface Machine {
  /** The container's limit, else the machine's memory. */
  readonly memoryBytes: number;
  readonly processors: number;
  /** The file system that holds the volume. */
  readonly volumeBytes: number;
  readonly freeBytes: number;
  /** /dev/shm; 64 MB in Docker unless it is set. */
  readonly sharedMemoryBytes: number;
}

/** Looks at the machine. `memoryLimitBytes` is what the settings say, if they do. */
export async function lookAtMachine(
  volume: string,
  {
    memoryLimitBytes = null,
    cgroup = "/sys/fs/cgroup",
  }: { memoryLimitBytes?: number | null; cgroup?: string } = {},
): Promise<Machine> {
  const disk = await statfs(volume);
  const shared = await statfs("/dev/shm").then(
    ({ bsize, blocks }) => bsize * blocks,
    () => 0,
  );
  return {
    memoryBytes: memoryLimitBytes ?? Math.min(totalmem(), (await cgroupMemoryLimit(cgroup)) ?? Infinity),
    processors: Math.max(1, Math.min(availableParallelism(), (await cgroupProcessors(cgroup)) ?? Infinity)),
    volumeBytes: disk.bsize * disk.blocks,
    freeBytes: disk.bsize * disk.bavail,
    sharedMemoryBytes: shared,
  };
}

/** The container's memory limit in bytes, by version 2 or 1 of control groups; null without one. */
export async function cgroupMemoryLimit(root: string): Promise<number | null> {
  for (const path of [`${root}/memory.max`, `${root}/memory/memory.limit_in_bytes`]) {
    const text = await readFile(path, "utf8").catch(() => "max");
    const bytes = Number.parseInt(text, 10);
    // Version 1 says "no limit" by a number near 2^63.
    if (Number.isFinite(bytes) && bytes > 0 && bytes < 2 ** 60) return bytes;
  }
  return null;
}

/** The container's share of processors, rounded up; null without a limit. */
export async function cgroupProcessors(root: string): Promise<number | null> {
  const both = await readFile(`${root}/cpu.max`, "utf8").catch(() => null);
  const [quota, period] =
    both?.split(/\s+/).map(Number) ??
    (await Promise.all(
      ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(async (name) =>
        Number(await readFile(`${root}/cpu/${name}`, "utf8").catch(() => "-1")),
      ),
    ));
  if (quota === undefined || period === undefined || !(quota > 0) || !(period > 0)) return null;
  return Math.ceil(quota / period);
}
