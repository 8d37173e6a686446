// `wal-g catchup-push` and `catchup-fetch`: bring an old copy of the data directory up to a running server. The other two commands speak Go's own format.

import { lstat, mkdir, mkdtemp, readdir, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { syncFolder } from "../../base/durable-file.ts";
import { AppError } from "../../base/errors.ts";
import { BACKUP_FOLDER, CATCHUP_FOLDER } from "../../backup/backup-name.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { UsageError } from "./flags.ts";
import { MappedStore } from "./mapped-store.ts";

export const CATCHUP_PUSH: WalgCommand = {
  path: "catchup-push",
  summary: "Creates a backup for catching up an old copy",
  use: "catchup-push path_to_replica_pgdata",
  examples: ["wal-g catchup-push $PGDATA --from-lsn 167772200"],
  flags: [
    { name: "from-lsn", kind: "string", usage: "LSN (a decimal number) that the old copy has reached" },
  ],
  check: (args, flags, clock) => {
    argumentCount(1, 1)(args, flags, clock);
    if (!/^\d{1,20}$/.test(flags.text("from-lsn") ?? "")) {
      throw new UsageError('required flag(s) "from-lsn" not set', "the LSN as a decimal number");
    }
  },
  run: push,
};

export const CATCHUP_FETCH: WalgCommand = {
  path: "catchup-fetch",
  summary: "Applies a catchup backup over an old copy of the data directory",
  use: "catchup-fetch path_to_replica_pgdata backup_name",
  examples: ["wal-g catchup-fetch /data/replica base_00000001000000000000000A"],
  flags: [{ name: "use-new-unwrap", kind: "bool", usage: "Accepted; it makes no difference" }],
  check: argumentCount(2, 2),
  run: fetch,
};

/** The commands that are taken and answered with what to do instead. */
export const CATCHUP_OTHERS: readonly WalgCommand[] = ["catchup-send", "catchup-receive"].map((path) => ({
  path,
  summary:
    "Not offered: it speaks a format of Go's own; catchup-push and catchup-fetch, or pg_basebackup, do the same",
  use: path,
  examples: [],
  flags: [],
  check: () => undefined,
  run: () => {
    throw new AppError(`${path} is not offered: its wire format is Go's own`, {
      code: "NOT_OFFERED",
      hint: "use catchup-push and catchup-fetch through the store, or pg_basebackup from server to server",
    });
  },
}));

/** As in WAL-G the files are stored whole; the LSN is noted, and must not be ahead of the server. */
async function push(call: Call): Promise<number> {
  const { pushSettings } = await import("./backup-push.ts");
  const { pushBackup } = await import("../../backup/push.ts");
  const { serverOf } = await import("./server.ts");
  const store = new MappedStore(await call.openStore(), `${BACKUP_FOLDER}/`, `${CATCHUP_FOLDER}/`);
  const settings = { ...pushSettings(call, resolve(call.args[0]!)), isForcedFull: true };
  const { compression } = await call.openCodec();
  const result = await pushBackup(settings, {
    ...call,
    store,
    compression,
    cipherKey: await call.openKey(),
    server: await serverOf(call.settings),
  });
  const from = BigInt(call.flags.text("from-lsn")!);
  if (result.sentinel.startLsn !== null && from > result.sentinel.startLsn) {
    call.log.warn("the copy claims to be ahead of this server; it may be of another timeline", { from });
  }
  call.log.info(`Wrote backup with name ${result.name} to storage default`);
  return 0;
}

/** Fetches beside the directory and then puts file by file in its place; files that are not in the backup stay. */
async function fetch(call: Call): Promise<number> {
  const { fetchBackup } = await import("../../backup/fetch.ts");
  const directory = resolve(call.args[0]!);
  await refuseRunning(directory);
  const beside = await mkdtemp(join(dirname(directory), `.${basename(directory)}-catchup-`));
  try {
    await fetchBackup(
      {
        backup: { kind: "name", name: call.args[1]! },
        directory: join(beside, "data"),
        tablespaces: { kind: "as-they-were" },
        mask: null,
        only: [],
        concurrency: Math.max(1, call.settings.count("WALG_DOWNLOAD_CONCURRENCY", 10)),
        serverMajor: null,
        owner: null,
      },
      {
        ...call,
        store: new MappedStore(await call.openStore(), `${BACKUP_FOLDER}/`, `${CATCHUP_FOLDER}/`),
        cipherKey: await call.openKey(),
      },
    );
    await moveOver(join(beside, "data"), directory);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  call.log.info("Backup extraction complete.");
  return 0;
}

async function refuseRunning(directory: string): Promise<void> {
  const isRunning = await lstat(join(directory, "postmaster.pid")).then(
    () => true,
    () => false,
  );
  if (!isRunning) return;
  throw new AppError(`"${directory}" has a postmaster.pid: stop the server first`, {
    code: "SERVER_RUNS",
    hint: "remove the file only if no server runs on the directory",
  });
}

/** Files replace files; what the copy has of its own (settings, WAL) stays. The control file comes last. */
async function moveOver(from: string, to: string): Promise<void> {
  const names = (await readdir(from)).sort((a, b) => rank(a) - rank(b));
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const name of names) {
    if (KEPT.has(name)) continue;
    const [source, target] = [join(from, name), join(to, name)];
    if ((await lstat(source)).isDirectory()) {
      await moveOver(source, target);
      await rmdir(source).catch(() => undefined);
    } else await rename(source, target);
  }
  await syncFolder(to);
}

const rank = (name: string): number => (name === "global" ? 1 : name === "pg_control" ? 2 : 0);

/** WAL-G leaves these of a catchup out; the copy keeps its own. */
const KEPT: ReadonlySet<string> = new Set([
  "postgresql.conf",
  "postgresql.auto.conf",
  "pg_hba.conf",
  "pg_wal",
]);
