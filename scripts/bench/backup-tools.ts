// The commands of each tool for the same four operations, with two processes or threads and the same codec.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { BenchServer } from "./backup-data.ts";

export interface Where {
  readonly server: BenchServer;
  /** Folder of Postgres's programs. */
  readonly bin: string;
  /** `lz4` or `zst`. */
  readonly codec: string;
  /** Folder of this tool's own. */
  readonly repository: string;
  /** An empty folder to restore into. */
  readonly target: string;
}

interface Steps {
  /** What has to be there and is not measured. */
  readonly before: readonly (readonly string[])[];
  readonly timed: readonly string[];
}

type Commands = Readonly<
  Record<"full push" | "full fetch", Steps> & Record<"delta push" | "chain fetch", Steps | null>
>;

export interface Tool {
  readonly name: "holdfast" | "pgbackrest" | "pg_basebackup";
  readonly env: (where: Where) => Readonly<Record<string, string>>;
  readonly commands: (where: Where) => Commands;
}

const only = (...timed: readonly string[]): Steps => ({ before: [], timed });

const HOLDFAST: Tool = {
  name: "holdfast",
  env: ({ server, codec, repository }) => ({
    WALG_FILE_PREFIX: repository,
    WALG_COMPRESSION_METHOD: codec === "zst" ? "zstd" : codec,
    WALG_UPLOAD_DISK_CONCURRENCY: "2",
    WALG_DOWNLOAD_CONCURRENCY: "2",
    WALG_VERIFY_PAGE_CHECKSUMS: "true", // pgBackRest verifies them too
    WALG_DELTA_MAX_STEPS: "5",
    PGHOST: server.socket,
    PGPORT: String(server.port),
    PGUSER: "postgres",
  }),
  commands: ({ server, target, repository }) => ({
    "full push": only("wal-g", "backup-push", "--full", server.data),
    "delta push": only("wal-g", "backup-push", server.data),
    "full fetch": only("wal-g", "backup-fetch", target, fullBackup(repository)),
    "chain fetch": only("wal-g", "backup-fetch", target, "LATEST"),
  }),
};
/** The name of the one full backup; empty while there is none. */
function fullBackup(repository: string): string {
  const folder = join(repository, "basebackups_005");
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.find((name) => /^base_[0-9A-F]{24}$/.test(name)) ?? "";
}

/** Two repositories: full backups as it makes them by default, and bundled ones in blocks, its best for deltas, whose full backup is not measured. */
const PGBACKREST: Tool = {
  name: "pgbackrest",
  env: ({ server, codec, repository }) => ({
    PGBACKREST_STANZA: "bench",
    PGBACKREST_PROCESS_MAX: "2",
    PGBACKREST_COMPRESS_TYPE: codec,
    PGBACKREST_PG1_SOCKET_PATH: server.socket,
    PGBACKREST_PG1_USER: "postgres",
    PGBACKREST_PG1_PORT: String(server.port),
    PGBACKREST_START_FAST: "y",
    PGBACKREST_ARCHIVE_CHECK: "n",
    PGBACKREST_REPO1_RETENTION_FULL: "9",
    PGBACKREST_LOG_LEVEL_CONSOLE: "warn",
    PGBACKREST_LOG_LEVEL_FILE: "off",
    PGBACKREST_LOCK_PATH: join(repository, "lock"),
    PGBACKREST_SPOOL_PATH: join(repository, "spool"),
  }),
  commands: ({ server, repository, target }) => {
    const run = (repo: string, command: string, ...options: readonly string[]): string[] => [
      ...["pgbackrest", `--repo1-path=${join(repository, repo)}`, "--pg1-path"],
      ...[command === "restore" ? target : server.data, ...options, command],
    ];
    const block = ["--repo1-bundle", "--repo1-block"];
    return {
      "full push": {
        before: [
          run("plain", "stanza-create"),
          run("block", "stanza-create"),
          run("block", "backup", "--type=full", ...block),
        ],
        timed: run("plain", "backup", "--type=full"),
      },
      "delta push": only(...run("block", "backup", "--type=incr", ...block)),
      "full fetch": only(...run("plain", "restore", "--type=none")),
      "chain fetch": only(...run("block", "restore", "--type=none")),
    };
  },
};

const PG_BASEBACKUP: Tool = {
  name: "pg_basebackup",
  env: () => ({}),
  commands: ({ server, bin, codec, repository, target }) => {
    const method = codec === "zst" ? "zstd" : codec;
    const options = ["-Ft", `--compress=client-${method}`, "--checkpoint=fast", "--wal-method=none"];
    const where = ["-h", server.socket, "-p", String(server.port), "-U", "postgres"];
    const unpack = `${method} -dc "$1"/base.tar.${codec} | tar -xf - -C "$2" && sync -f "$2"`;
    return {
      "full push": only(join(bin, "pg_basebackup"), ...where, ...options, "-D", join(repository, "full")),
      "delta push": null,
      "full fetch": only("bash", "-c", unpack, "unpack", join(repository, "full"), target),
      "chain fetch": null,
    };
  },
};

export const TOOLS: readonly Tool[] = [HOLDFAST, PGBACKREST, PG_BASEBACKUP];
