// Restores a backup of pgBackRest's into an empty directory: every file checked against its SHA-1, the control file last.

import { createHash } from "node:crypto";
import { chmod, mkdir, open, readdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../../base/durable-file.ts";
import { AppError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Progress, ProgressMeter } from "../../base/progress.ts";
import { PgBackRestError } from "./info.ts";
import type { Manifest, ManifestFile } from "./manifest.ts";
import type { Repository } from "./repository.ts";

export interface RestoreTools {
  readonly repository: Repository;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly monotonicMs: () => number;
  readonly onProgress: (progress: Progress) => void;
}

/** Restores all files. Without its control file, which comes last, the directory cannot be started. */
export async function restoreManifest(
  manifest: Manifest,
  directory: string,
  tools: RestoreTools,
): Promise<void> {
  await makeEmpty(directory);
  for (const { name, mode } of manifest.paths) {
    const path = placeOf(name, manifest, directory);
    await mkdir(path, { recursive: true, mode: 0o700 });
    await chmod(path, mode);
  }
  for (const { name, destination } of manifest.links) {
    const path = placeOf(name, manifest, directory);
    await mkdir(dirname(path), { recursive: true });
    await symlink(destination, path);
  }
  const total = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const meter = new ProgressMeter(total, tools.onProgress, tools.monotonicMs);
  const isControl = (file: ManifestFile): boolean => file.name === "pg_data/global/pg_control";
  const rest = manifest.files.filter((file) => !isControl(file));
  for (let at = 0; at < rest.length; at += PARALLEL) {
    await Promise.all(
      rest.slice(at, at + PARALLEL).map((file) => restoreFile(file, manifest, directory, tools, meter)),
    );
  }
  const folders = new Set(manifest.files.map(({ name }) => dirname(placeOf(name, manifest, directory))));
  for (const folder of folders) await syncFolder(folder);
  for (const file of manifest.files.filter(isControl))
    await restoreFile(file, manifest, directory, tools, meter);
  await syncFolder(join(directory, "global"));
  await syncFolder(directory);
  meter.finish();
}

async function makeEmpty(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if ((await readdir(directory)).length > 0) {
    throw new AppError(`Directory ${directory} must be empty`, {
      code: "DESTINATION",
      hint: "give a new or empty directory",
    });
  }
  await chmod(directory, 0o700);
}

/** `pg_data/x` lies in the directory, `pg_tblspc/16385/x` behind the link of the tablespace. */
function placeOf(name: string, { links }: Manifest, directory: string): string {
  if (name === "pg_data") return directory;
  if (name.startsWith("pg_data/")) return join(directory, name.slice("pg_data/".length));
  const [, oid, ...rest] = name.split("/");
  const link = links.find((one) => one.name === `pg_data/pg_tblspc/${oid}`);
  return join(link?.destination ?? join(directory, "pg_tblspc", oid ?? ""), ...rest);
}

async function restoreFile(
  file: ManifestFile,
  manifest: Manifest,
  directory: string,
  { repository, signal }: RestoreTools,
  meter: ProgressMeter,
): Promise<void> {
  const path = placeOf(file.name, manifest, directory);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await using out = await open(path, "wx", file.mode);
  const hash = createHash("sha1");
  let bytes = 0;
  // An empty file is not stored at all in a bundle.
  if (file.bytes > 0) {
    for await (const piece of await repository.open(file, manifest, signal)) {
      hash.update(piece);
      bytes += piece.byteLength;
      await out.appendFile(piece);
      meter.add(piece.byteLength);
    }
  }
  if (bytes !== file.bytes || (file.sha1 !== null && file.bytes > 0 && hash.digest("hex") !== file.sha1)) {
    throw new PgBackRestError(
      `${file.label}/${file.name}`,
      "does not have the length and SHA-1 that the manifest states",
    );
  }
  await out.sync();
}

const PARALLEL = 4;
