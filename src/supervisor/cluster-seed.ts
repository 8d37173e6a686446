// An empty volume becomes a standby: base from the store, the rest from the archive and by streaming; from the primary if the store cannot.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import { messageOf } from "../base/errors.ts";
import { mustRun } from "../base/run-command.ts";
import { configPaths, passfileLine } from "../postgres/config-files.ts";
import { clearUnfinished, markUnfinished } from "../postgres/data-directory.ts";
import { REPLICATION_ROLE } from "../postgres/roles.ts";
import { LATEST } from "../recovery/target.ts";
import type { Cluster } from "./cluster.ts";
import { becomeStandby } from "./cluster-rejoin.ts";
import type { NodeContext } from "./node-context.ts";
import { planSeed, seedFromArchive } from "./seeding.ts";

/** Fills the volume; resolves once it holds a standby's directory. `primary` null: nobody leads, and the store alone has the data. */
export async function seedStandby(
  node: NodeContext,
  cluster: Cluster,
  primary: string | null,
): Promise<void> {
  const { log, state, paths } = node;
  state.enter("joining", primary === null ? "from the store alone" : `${primary} leads`);
  const why = primary === null ? null : await preferClone(node, cluster, primary);
  try {
    if (why !== null) throw new CloneFirst(why);
    await seedFromArchive(node, { request: LATEST, from: null, work: "seed" });
  } catch (error) {
    node.stop.stopping.throwIfAborted();
    if (primary === null) throw error;
    log.warn("the base comes from the primary", { because: messageOf(error) });
    await clearUnfinished(paths);
    await clone(node, cluster, primary);
  }
  await cluster.renewVolume();
  await becomeStandby(node, null);
  log.info("the volume holds a standby");
}

class CloneFirst extends Error {}

/**
 * The better way is chosen by estimated time. The store spares the primary, so it is taken unless the way back through the WAL is far
 * longer than a copy. Null: from the store.
 */
async function preferClone(node: NodeContext, cluster: Cluster, primary: string): Promise<string | null> {
  try {
    const { plan } = await planSeed(
      node,
      { request: LATEST, from: null, work: "seed" },
      new Set(),
      node.stop.stopping,
    );
    const text = await cluster.call(primary, "database-bytes", {}, ASK_MS).catch(() => "");
    const bytes = Number(text);
    if (!Number.isFinite(bytes) || bytes <= 0) return null;
    const cloneSeconds = bytes / CLONE_BYTES_PER_SECOND + CLONE_CHECKPOINT_SECONDS;
    const isFar = plan.estimatedSeconds > STORE_PATIENCE * cloneSeconds && plan.estimatedSeconds > 120;
    node.log.info("seeding: two ways", {
      storeSeconds: Math.round(plan.estimatedSeconds),
      cloneSeconds: Math.round(cloneSeconds),
    });
    return isFar
      ? `the store needs ${Math.round(plan.estimatedSeconds)} s, a copy ${Math.round(cloneSeconds)} s`
      : null;
  } catch {
    return null;
  }
}

/** pg_basebackup from the primary; the mark says that it is not whole until it is. */
async function clone(node: NodeContext, cluster: Cluster, primary: string): Promise<void> {
  const { paths, programs, owner, settings, stop, clock, state, log } = node;
  const host = cluster.addressOf(primary) ?? cluster.hostOf(primary);
  state.enter("joining", `copying from ${primary}`);
  await markUnfinished(paths, { work: "clone", beganMs: clock.now(), detail: `from ${primary}` });
  const { directory, passfile } = configPaths(paths.marks);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const line = passfileLine(REPLICATION_ROLE, node.passwords.replication);
  await writeDurably(passfile, line, 0o600, owner ?? undefined);
  const begunMs = clock.monotonicMs();
  await mustRun(
    join(programs.bin, "pg_basebackup"),
    [
      ...["-D", paths.dataDirectory, "-X", "stream", "--checkpoint=fast", "--no-manifest"],
      ...[
        "-d",
        `host=${host} port=${settings.ports.postgres} user=${REPLICATION_ROLE} passfile=${passfile} connect_timeout=5 application_name=holdfast-clone`,
      ],
    ],
    { ...owner, signal: stop.stopping, cwd: "/" },
  );
  log.info("copied from the primary", { primary, tookMs: Math.round(clock.monotonicMs() - begunMs) });
}

const ASK_MS = 3_000;
const CLONE_BYTES_PER_SECOND = 50_000_000;
const CLONE_CHECKPOINT_SECONDS = 5;
/** The primary is spared even when the store takes so many times as long. */
const STORE_PATIENCE = 4;
