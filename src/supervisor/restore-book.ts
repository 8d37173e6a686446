// What was asked to be restored and what was kept aside: small files on the volume, and a mark in the store for requests of the environment.

import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { removeDurably, renameDurably, writeDurably } from "../base/durable-file.ts";
import { AppError } from "../base/errors.ts";
import { type CompletionMark, readCompletion, type VolumePaths } from "../postgres/data-directory.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { TargetFields } from "../recovery/target.ts";

/** A restore or an undo that a command asked for and that is not done yet. */
export interface RestoreOrder {
  readonly id: string;
  readonly kind: "restore" | "undo";
  readonly fields: TargetFields;
  readonly askedMs: number;
}

/** A data directory kept aside, with the mark that made it count. */
export interface Aside {
  /** Of the order that moved it. */
  readonly id: string;
  readonly path: string;
  readonly mark: CompletionMark;
  readonly movedMs: number;
}

export async function readOrder(paths: VolumePaths): Promise<RestoreOrder | null> {
  return (await readJson(join(paths.marks, ORDER))) as RestoreOrder | null;
}

export async function writeOrder(paths: VolumePaths, order: RestoreOrder): Promise<void> {
  await mkdir(paths.marks, { recursive: true, mode: 0o700 });
  await writeDurably(join(paths.marks, ORDER), `${JSON.stringify(order)}\n`);
}

export async function removeOrder(paths: VolumePaths): Promise<void> {
  await removeDurably(join(paths.marks, ORDER));
}

export async function readAside(paths: VolumePaths): Promise<Aside | null> {
  const stored = (await readJson(join(paths.marks, ASIDE))) as
    | (Omit<Aside, "mark"> & { mark: Omit<CompletionMark, "systemId"> & { systemId: string } })
    | null;
  return stored === null
    ? null
    : { ...stored, mark: { ...stored.mark, systemId: BigInt(stored.mark.systemId) } };
}

/**
 * Moves the data directory aside for the order `id`; an older one kept aside is removed. Can be cut short anywhere and called again. Does
 * nothing on a volume whose data directory this order moved already. A directory without a mark of completion is not worth keeping.
 */
export async function moveAside(paths: VolumePaths, id: string, nowMs: number): Promise<void> {
  const known = await readAside(paths);
  if (known?.id === id && !(await isThere(paths.dataDirectory))) return;
  if (known?.id !== id) {
    const mark = await readCompletion(paths);
    if (mark === null) return;
    if (known !== null) await removeDurably(known.path);
    const aside: Aside = { id, path: `${paths.dataDirectory}.aside-${id}`, mark, movedMs: nowMs };
    await writeAside(paths, aside);
  }
  const aside = await readAside(paths);
  if (aside !== null && !(await isThere(aside.path)) && (await isThere(paths.dataDirectory)))
    await renameDurably(paths.dataDirectory, aside.path);
}

/** Removes what was kept aside while this member's volume was filled anew; what a restore keeps for its undo stays. True when there was one. */
export async function dropMemberAside(paths: VolumePaths): Promise<boolean> {
  const aside = await readAside(paths);
  if (aside === null || !MEMBER_ASIDE.test(aside.id)) return false;
  await removeDurably(aside.path);
  await forgetAside(paths);
  return true;
}

/** Names the move of a member whose data are replaced. */
export const memberAsideId = (why: "rejoin" | "reinit", nowMs: number): string =>
  `${why}-${nowMs.toString(36)}`;

const MEMBER_ASIDE = /^(rejoin|reinit)-/;

/** Forgets what was kept aside; the directory itself has been moved back. */
export async function forgetAside(paths: VolumePaths): Promise<void> {
  await removeDurably(join(paths.marks, ASIDE));
}

async function writeAside(paths: VolumePaths, aside: Aside): Promise<void> {
  const text = JSON.stringify({
    ...aside,
    mark: { ...aside.mark, systemId: aside.mark.systemId.toString() },
  });
  await writeDurably(join(paths.marks, ASIDE), `${text}\n`);
}

/** True when the environment's request `id` was performed in an earlier life: it must not throw away what came after. */
export async function wasPerformed(
  store: Pick<ObjectStore, "head">,
  id: string,
  signal: AbortSignal,
): Promise<boolean> {
  return (await store.head(performedKey(id), signal)) !== null;
}

/** Written before the doors open on what the environment asked for. */
export async function markPerformed(
  store: Pick<ObjectStore, "create">,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  await store.create(performedKey(id), Buffer.from(`${JSON.stringify({ format: 1, id })}\n`), signal);
}

const performedKey = (id: string): string => `tail_v1/restores/${id}.json`;

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw new AppError(`could not read "${path}"`, {
      code: "VOLUME",
      hint: "remove the file if nothing is being restored",
      cause: error,
    });
  }
}

/** Whether a folder or file is there. */
export async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

const ORDER = "restore-order.json";
const ASIDE = "aside.json";
