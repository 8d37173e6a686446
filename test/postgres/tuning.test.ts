// Defaults for machines of every size, and what recovery needs at least.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { RecoverySettings } from "../../src/postgres/control-file.ts";
import {
  cgroupMemoryLimit,
  cgroupProcessors,
  lookAtMachine,
  type Machine,
} from "../../src/postgres/machine.ts";
import { recoveryMinimums, tuneFor } from "../../src/postgres/tuning.ts";

const GIB = 2 ** 30;
const machine = (change: Partial<Machine> = {}): Machine => ({
  memoryBytes: 2 * GIB,
  processors: 2,
  volumeBytes: 10 * GIB,
  freeBytes: 9 * GIB,
  sharedMemoryBytes: 1 * GIB,
  ...change,
});
const megabytes = (value: string | undefined): number => Number(/^(\d+)MB$/.exec(value ?? "")?.[1]);

test("a machine of 2 GB", () => {
  assert.deepEqual(tuneFor(machine()), {
    max_connections: "100",
    shared_buffers: "448MB",
    effective_cache_size: "1254MB",
    maintenance_work_mem: "112MB",
    work_mem: "3MB",
    min_dynamic_shared_memory: "0MB",
    random_page_cost: "1.1",
    max_wal_size: "1024MB",
    max_slot_wal_keep_size: "2048MB",
    wal_keep_size: "204MB",
  });
});

for (const gib of [0.125, 0.25, 0.5, 1, 4, 16, 64, 512]) {
  test(`with ${gib} GB everything fits`, () => {
    const tuned = tuneFor(machine({ memoryBytes: gib * GIB, sharedMemoryBytes: 64 << 20 }));
    const shared = megabytes(tuned["shared_buffers"]);
    const total = gib * 1024;
    assert.ok(shared >= 16 && shared <= total * 0.26, `shared_buffers ${shared} MB`);
    assert.ok(megabytes(tuned["effective_cache_size"]) <= total);
    assert.ok(
      shared + megabytes(tuned["maintenance_work_mem"]) + megabytes(tuned["min_dynamic_shared_memory"]) <
        total,
    );
    assert.ok(megabytes(tuned["min_dynamic_shared_memory"]) >= 8, "Docker's /dev/shm is small");
  });
}

for (const [volume, free] of [
  [1, 0.9],
  [1, 0.1],
  [10, 9],
  [10, 0.5],
  [500, 450],
] as const) {
  test(`a slot cannot fill a volume of ${volume} GB with ${free} GB free`, () => {
    const tuned = tuneFor(machine({ volumeBytes: volume * GIB, freeBytes: free * GIB }));
    const kept = megabytes(tuned["max_slot_wal_keep_size"]) / 1024;
    assert.ok(kept <= Math.max(0.25, free / 2) && kept <= Math.max(0.25, volume / 5), `${kept} GB`);
    assert.ok(megabytes(tuned["max_wal_size"]) / 1024 <= Math.max(0.25, volume / 10));
  });
}

test("recovery raises what is smaller than at the source, and nothing else", () => {
  const source: RecoverySettings = {
    maxConnections: 500,
    maxWorkerProcesses: 8,
    maxWalSenders: 10,
    maxPreparedTransactions: 5,
    maxLocksPerTransaction: 64,
    trackCommitTimestamp: true,
  };
  assert.deepEqual(
    recoveryMinimums(source, {
      ...source,
      maxConnections: 100,
      maxWalSenders: 20,
      maxPreparedTransactions: 0,
    }),
    {
      max_connections: "500",
      max_prepared_transactions: "5",
    },
  );
  assert.deepEqual(recoveryMinimums(source, source), {});
});

test("the container's limits are read in both versions of control groups", async () => {
  const root = await mkdtemp(join(tmpdir(), "holdfast-cgroup-"));
  try {
    assert.equal(await cgroupMemoryLimit(root), null);
    assert.equal(await cgroupProcessors(root), null);
    await mkdir(join(root, "memory"));
    await mkdir(join(root, "cpu"));
    const write = (path: string, text: string): Promise<void> => writeFile(join(root, path), text);
    await write("memory/memory.limit_in_bytes", "9223372036854771712\n");
    await write("cpu/cpu.cfs_quota_us", "-1\n");
    await write("cpu/cpu.cfs_period_us", "100000\n");
    assert.equal(await cgroupMemoryLimit(root), null, "version 1 without a limit");
    assert.equal(await cgroupProcessors(root), null);
    await write("memory/memory.limit_in_bytes", "536870912\n");
    await write("cpu/cpu.cfs_quota_us", "150000\n");
    assert.equal(await cgroupMemoryLimit(root), 512 << 20);
    assert.equal(await cgroupProcessors(root), 2);
    await write("memory.max", "max\n");
    await write("cpu.max", "max 100000\n");
    assert.equal(await cgroupMemoryLimit(root), 512 << 20, "version 2 without a limit, version 1 with one");
    await write("memory.max", "268435456\n");
    await write("cpu.max", "50000 100000\n");
    assert.equal(await cgroupMemoryLimit(root), 256 << 20);
    assert.equal(await cgroupProcessors(root), 1);
    const seen = await lookAtMachine(root, { cgroup: root });
    assert.deepEqual([seen.memoryBytes, seen.processors], [256 << 20, 1]);
    assert.ok(seen.volumeBytes >= seen.freeBytes && seen.freeBytes > 0);
    assert.equal(
      (await lookAtMachine(root, { memoryLimitBytes: 1 << 30, cgroup: root })).memoryBytes,
      1 << 30,
    );
  } finally {
    await rm(root, { recursive: true });
  }
});
