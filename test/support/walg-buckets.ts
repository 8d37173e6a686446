// The buckets that WAL-G wrote, copied to where a test may change them, with the objects' times set as they were.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** One entry of recorded/commands.json. */
export interface Recorded {
  readonly file: string;
  readonly args: readonly string[];
  readonly exit: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly note?: string;
}

export const WALG_FIXTURES = resolve(process.env["HOLDFAST_WALG_FIXTURES"] ?? "../shared/fixtures/walg");

/** All buckets, in order of their names. Fails when they are missing. */
export async function openBuckets(): Promise<readonly Bucket[]> {
  assert.ok(
    existsSync(WALG_FIXTURES),
    `WAL-G's buckets are missing: ${WALG_FIXTURES} (HOLDFAST_WALG_FIXTURES)`,
  );
  const folders = (await readdir(WALG_FIXTURES, { withFileTypes: true })).filter((entry) =>
    entry.isDirectory(),
  );
  return Promise.all(folders.map(({ name }) => openBucket(name)));
}

export async function openBucket(name: string): Promise<Bucket> {
  const folder = join(WALG_FIXTURES, name);
  const commands = JSON.parse(await readFile(join(folder, "recorded/commands.json"), "utf8")) as Recorded[];
  return new Bucket(name, folder, commands);
}

/** A bucket and its copies under one temporary folder; `prepare` before use, `remove` after. */
export class Bucket {
  readonly name: string;
  readonly folder: string;
  readonly commands: readonly Recorded[];
  #work = "";
  #settings: Readonly<Record<string, string>> = {};
  /** The copy on which the `mark-…` records follow one another. */
  #marked: string | null = null;

  constructor(name: string, folder: string, commands: readonly Recorded[]) {
    this.name = name;
    this.folder = folder;
    this.commands = commands;
  }

  async prepare(): Promise<void> {
    this.#work = await mkdtemp(join(tmpdir(), "walg-bucket-"));
    const lines = (await readFile(join(this.folder, "env"), "utf8"))
      .split("\n")
      .filter((line) => line !== "");
    this.#settings = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
    run("cp", ["-r", "--no-preserve=mode", join(this.folder, "store"), join(this.#work, "store")]);
    const objects = JSON.parse(await readFile(join(this.folder, "objects.json"), "utf8")) as {
      key: string;
      modified: string;
    }[];
    const touches = objects.map(({ key, modified }) => `touch -d '${modified}' '${key}'\n`).join("");
    run("sh", ["-e"], { cwd: join(this.#work, "store"), input: touches });
  }

  async remove(): Promise<void> {
    await rm(this.#work, { recursive: true, force: true });
  }

  /** Folder of the shared copy; nothing may change it. */
  get store(): string {
    return join(this.#work, "store");
  }

  /** The shared copy, or one of its own for a command that changes the bucket. */
  async placeFor({ file, args }: Recorded): Promise<string> {
    if (file.startsWith("mark-")) return (this.#marked ??= await this.copy());
    return args.includes("--confirm") ? this.copy() : join(this.#work, "store");
  }

  /** An empty folder that goes with the bucket. */
  scratch(): Promise<string> {
    return mkdtemp(join(this.#work, "scratch-"));
  }

  /** A fresh copy, times kept. */
  async copy(): Promise<string> {
    const place = join(await mkdtemp(join(this.#work, "copy-")), "store");
    run("cp", ["-a", join(this.#work, "store"), place]);
    return place;
  }

  /** The settings of the bucket with its store at `place`; key files where they lie. */
  envAt(place: string): Readonly<Record<string, string>> {
    const absolute = Object.entries(this.#settings).map(([key, value]) => [
      key,
      key.endsWith("_PATH") ? join(this.folder, value) : value,
    ]);
    return { ...(Object.fromEntries(absolute) as Record<string, string>), WALG_FILE_PREFIX: place };
  }

  /** What was printed, or null when it was not recorded. */
  recordedText({ file }: Recorded, stream: "stdout" | "stderr"): Promise<string | null> {
    return readFile(join(this.folder, "recorded", `${file}.${stream}`), "utf8").catch(() => null);
  }

  /** Keys that were left, or null when they were not recorded. */
  async recordedObjects({ file }: Recorded): Promise<readonly string[] | null> {
    const text = await readFile(join(this.folder, "recorded", `${file}.objects`), "utf8").catch(() => null);
    return text === null
      ? null
      : text
          .split("\n")
          .filter((line) => line !== "")
          .sort();
  }

  async objectsAt(place: string): Promise<readonly string[]> {
    if (!existsSync(place)) return [];
    const entries = await readdir(place, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(place.length + 1))
      .sort();
  }
}

function run(file: string, args: readonly string[], options: { cwd?: string; input?: string } = {}): void {
  const result = spawnSync(file, args, { encoding: "utf8", ...options });
  assert.equal(result.status, 0, `${file} ${args.join(" ")}: ${result.stderr}`);
}
