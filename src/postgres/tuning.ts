// Postgres's defaults for a machine: memory, room on the volume. Pure.

import type { RecoverySettings } from "./control-file.ts";
import type { Machine } from "./machine.ts";
import type { Parameters } from "./parameters.ts";

/** What a machine like this one gets unless the user says otherwise. */
export function tuneFor(machine: Machine): Parameters {
  const { memoryBytes: memory, volumeBytes, freeBytes, sharedMemoryBytes } = machine;
  const connections = memory < 1 * GIB ? 50 : 100;
  // The supervisor, HAProxy and repmgrd want their part first.
  const usable = Math.max(64 * MIB, memory - Math.min(256 * MIB, memory / 3));
  const shared = clamp(usable / 4, 16 * MIB, 16 * GIB);
  return {
    max_connections: String(connections),
    shared_buffers: megabytes(shared),
    effective_cache_size: megabytes(clamp(usable * 0.7, 32 * MIB, 4096 * GIB)),
    maintenance_work_mem: megabytes(clamp(usable / 16, 16 * MIB, 2 * GIB)),
    // Half of what is left, should every connection sort twice.
    work_mem: megabytes(clamp((usable - shared) / (connections * 4), 2 * MIB, 64 * MIB)),
    // Docker's /dev/shm of 64 MB is too small for parallel queries; this part is taken at the start, elsewhere.
    min_dynamic_shared_memory: megabytes(
      sharedMemoryBytes < 256 * MIB ? clamp(memory / 16, 8 * MIB, 256 * MIB) : 0,
    ),
    random_page_cost: "1.1",
    max_wal_size: megabytes(clamp(volumeBytes / 10, 256 * MIB, 4 * GIB)),
    // A slot that nobody reads must not fill the volume; below the free space, whatever the volume's size.
    max_slot_wal_keep_size: megabytes(clamp(Math.min(volumeBytes / 5, freeBytes / 2), 256 * MIB, 64 * GIB)),
    // pg_rewind and followers find recent WAL without the archive.
    wal_keep_size: megabytes(clamp(volumeBytes / 50, 64 * MIB, 512 * MIB)),
  };
}

/**
 * What must be raised so that recovery of another server's WAL does not stop: `source` from pg_control, `configured` as `postgres -C` prints it.
 * Empty when all is well.
 */
export function recoveryMinimums(source: RecoverySettings, configured: RecoverySettings): Parameters {
  const raised: Record<string, string> = {};
  for (const [field, name] of RECOVERY_NAMES) {
    if (source[field] > configured[field]) raised[name] = String(source[field]);
  }
  return raised;
}

/** The five settings that a standby must not have smaller, in the order of the control file. */
export const RECOVERY_NAMES = [
  ["maxConnections", "max_connections"],
  ["maxWorkerProcesses", "max_worker_processes"],
  ["maxWalSenders", "max_wal_senders"],
  ["maxPreparedTransactions", "max_prepared_transactions"],
  ["maxLocksPerTransaction", "max_locks_per_transaction"],
] as const;

/** Settings made for the machine a cluster came from: a restore takes them out of postgresql.auto.conf. */
export const MACHINE_PARAMETERS: readonly string[] = [
  "shared_buffers",
  "effective_cache_size",
  "maintenance_work_mem",
  "work_mem",
  "autovacuum_work_mem",
  "logical_decoding_work_mem",
  "wal_buffers",
  "huge_pages",
  "min_dynamic_shared_memory",
  "max_wal_size",
  "min_wal_size",
  "max_slot_wal_keep_size",
  "wal_keep_size",
];

const clamp = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));
const megabytes = (bytes: number): string => `${Math.floor(bytes / MIB)}MB`;
const MIB = 1 << 20;
const GIB = 1 << 30;
