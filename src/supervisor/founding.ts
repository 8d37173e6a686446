// A new cluster: initdb, roles, databases, the user's scripts; then the mark of completion. The store is not touched: what is killed
// before the mark is cleared and done again.

import { markComplete, markUnfinished, readControlFile } from "../postgres/data-directory.ts";
import { ensureDatabases, ensureRoles, runInitdb, runInitScripts } from "../postgres/bootstrap.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { withSql } from "../postgres/sql.ts";
import type { NodeContext } from "./node-context.ts";

/** Makes the data directory and marks it complete. Throws CommandError, InitScriptError; the next boot starts over. */
export async function foundCluster(node: NodeContext): Promise<void> {
  const { settings, paths, programs, owner, postgres, clock, log, stop } = node;
  await markUnfinished(paths, { work: "initdb", beganMs: clock.now(), detail: "a new cluster" });
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
