// A new cluster: initdb, roles, databases, the user's scripts; then the mark of completion. The store is not touched: what is killed
// before the mark is cleared and done again.

import { markComplete, markUnfinished, readControlFile } from "../postgres/data-directory.ts";
import { ensureDatabases, ensureRoles, runInitdb, runInitScripts } from "../postgres/bootstrap.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { withSql } from "../postgres/sql.ts";
import { beginWalAt, forgetSuccessor, markSuccessor } from "./giving-up.ts";
import type { NodeContext } from "./node-context.ts";

/** Whose place a new cluster takes (giving-up.ts). */
export interface Succession {
  readonly former: bigint;
  /** Number of the first segment of the new cluster's WAL. */
  readonly firstSegment: bigint;
}

/** Makes the data directory and marks it complete. Throws CommandError, InitScriptError; the next boot starts over. */
export async function foundCluster(node: NodeContext, succession: Succession | null): Promise<void> {
  const { settings, paths, programs, owner, postgres, clock, log, stop } = node;
  await markUnfinished(paths, { work: "initdb", beganMs: clock.now(), detail: "a new cluster" });
  if (succession === null) await forgetSuccessor(paths);
  else await markSuccessor(paths, succession.former);
  await runInitdb(
    {
      bin: programs.bin,
      dataDirectory: paths.dataDirectory,
      user: owner,
      superuser: settings.superuser,
      segmentBytes: settings.segmentBytes,
      args: settings.initdbArgs,
    },
    stop.stopping,
  );
  if (succession !== null) await beginWalAt(node, succession.firstSegment);
  await using server = await postgres.start({
    role: NO_ROLE,
    recovers: false,
    fromElsewhere: false,
    archives: false,
  });
  await server.ready(stop.stopping);
  await ensureContents(node);
  const { superuser, database } = settings;
  const { host, port } = await postgres.address("holdfast");
  await runInitScripts(
    { ...settings.initScripts, bin: programs.bin, user: owner, host, port, superuser, database },
    log,
    stop.stopping,
  );
  await server.stop({ fastMs: STOP_MS, immediateMs: STOP_MS, hurry: stop.hurry });
  const { systemId } = await readControlFile(paths.dataDirectory);
  await markComplete(paths, {
    systemId,
    role: "primary",
    promotionId: null,
    origin: "initdb",
    writtenMs: clock.now(),
  });
  log.info("made a new cluster", { systemId });
}

/** Roles, passwords, databases and extensions as the settings say; harmless to repeat, and cheap when nothing changed. */
export async function ensureContents(node: NodeContext): Promise<void> {
  const { settings, passwords, postgres, log } = node;
  const address = await postgres.address("holdfast");
  await withSql(address, (sql) => ensureRoles(sql, settings.superuser, passwords, log));
  await ensureDatabases(address, settings);
}

const STOP_MS = 30_000;
