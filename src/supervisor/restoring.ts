// A restore that was asked for, by the environment or by a command. Old data is kept aside until the next one; undoing.ts brings it back.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import { AppError } from "../base/errors.ts";
import { readCompletion, readControlFile, type VolumePaths } from "../postgres/data-directory.ts";
import { describeTarget, LATEST, parseRequest } from "../recovery/target.ts";
import { listBackups } from "../backup/catalog.ts";
import { readIdentity } from "../tail/cluster-identity.ts";
import { IDENTITY_KEY } from "../tail/keys.ts";
import type { AskedRestore, StoreFacts } from "./boot-decision.ts";
import type { Verbs } from "./front.ts";
import type { NodeContext } from "./node-context.ts";
import type { TermEnd } from "./primary-term.ts";
import { leadRestored } from "./promoted-term.ts";
import { markPerformed, moveAside, readOrder, removeOrder, wasPerformed } from "./restore-book.ts";
import { seedFromArchive } from "./seeding.ts";
import { leadUndone } from "./undoing.ts";

/** What is asked for now; a command's order comes before the environment's. Throws StoreError when the store must tell and does not. */
export async function readAskedRestore(
  node: NodeContext,
  found: StoreFacts,
  signal: AbortSignal,
): Promise<AskedRestore | null> {
  const { settings, paths, store } = node;
  const order = await readOrder(paths);
  if (order !== null) {
    const target =
      order.kind === "undo" ? "the data kept aside" : describeTarget(parseRequest(order.fields).target);
    return { id: order.id, from: "command", otherPrefix: false, target };
  }
  const { restore } = settings;
  if (restore === null) return null;
  const otherPrefix = restore.from !== null;
  // A new cluster is made once; with its own archive it is an ordinary cluster.
  if (otherPrefix && found.kind === "cluster") return null;
  // It claimed its prefix and has no backup yet: what this volume holds goes on, or the same attempt is made anew.
  if (otherPrefix && found.kind === "unfinished-founding") {
    const goesOn = (await readCompletion(paths)) !== null;
    if (goesOn || !(await isOwnClaim(paths, found.systemId))) return null;
  }
  if (!otherPrefix && (await wasPerformed(store, restore.id, signal))) return null;
  return { id: restore.id, from: "environment", otherPrefix, target: describeTarget(restore.request.target) };
}

/** Performs it and leads on the new timeline. Until the log accepted that timeline, the next boot begins anew. */
export async function leadAsked(node: NodeContext, verbs: Verbs, asked: AskedRestore): Promise<TermEnd> {
  const { settings, paths, store, clock, stop, state } = node;
  const order = asked.from === "command" ? await readOrder(paths) : null;
  if (order?.kind === "undo") return await leadUndone(node, verbs, order.id);
  const environment = order === null ? settings.restore : null;
  const request = order === null ? (environment?.request ?? LATEST) : parseRequest(order.fields);
  state.enter("restoring", `planning the restore to ${asked.target}`);
  if (environment?.from != null) await beginAnew(node);
  const plan = await seedFromArchive(
    node,
    { request, from: environment?.from ?? null, work: "restore" },
    () => moveAside(paths, asked.id, clock.now()),
  );
  if (plan.fromElsewhere) await noteClaim(paths, (await readControlFile(paths.dataDirectory)).systemId);
  return await leadRestored(node, verbs, plan, {
    origin: "restore",
    onAccepted: async () => {
      if (order === null && !plan.fromElsewhere) await markPerformed(store, asked.id, stop.stopping);
      await removeOrder(paths);
    },
  });
}

/**
 * A new cluster from another prefix. An earlier attempt on this volume may have claimed our own prefix and died before its first backup: no
 * client was ever let in, so its objects are removed, the claim itself last. An attempt on a volume that is lost is left to the operator.
 */
async function beginAnew({ paths, store, bulkStore, stop, log }: NodeContext): Promise<void> {
  const signal = stop.stopping;
  const identity = await readIdentity(store, signal);
  if (identity !== null) {
    if (
      !(await isOwnClaim(paths, identity.systemId.toString())) ||
      (await listBackups(store, signal)).length > 0
    )
      throw new AppError("the own prefix is not empty", {
        code: "PREFIX_TAKEN",
        hint: "give the new cluster a prefix of its own, or clear it",
      });
    const keys: string[] = [];
    for await (const { key } of store.list("", signal)) if (key !== IDENTITY_KEY) keys.push(key);
    log.warn("removing what an attempt on this volume left in the own prefix", { objects: keys.length });
    await bulkStore.delete(keys, signal);
    await bulkStore.delete([IDENTITY_KEY], signal);
  }
}

/** Before the own prefix is claimed: so that a later boot on this volume knows whose claim it is. */
async function noteClaim(paths: VolumePaths, systemId: bigint): Promise<void> {
  await writeDurably(claimPath(paths), `${systemId}\n`);
}

async function isOwnClaim(paths: VolumePaths, systemId: string): Promise<boolean> {
  const text = await readFile(claimPath(paths), "utf8").catch(() => "");
  return text.trim() === systemId;
}

const claimPath = (paths: VolumePaths): string => join(paths.marks, "claim");
