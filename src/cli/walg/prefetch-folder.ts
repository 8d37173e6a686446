// The folder of segments fetched ahead: `.wal-g/prefetch` beside the destination or in WALG_PREFETCH_DIR, as WAL-G has it.

import { mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeDurably } from "../../base/durable-file.ts";
import type { Settings } from "./command.ts";

export class PrefetchFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  static of(settings: Settings, target: string): PrefetchFolder {
    return new PrefetchFolder(
      join(settings.text("WALG_PREFETCH_DIR") ?? dirname(target), ".wal-g", "prefetch"),
    );
  }

  /** Moves the file `name` to `target` when it is here and passes `check`; a bad one is removed. */
  async take(name: string, target: string, check: (bytes: Uint8Array) => void): Promise<boolean> {
    const path = join(this.path, name);
    const bytes = await readFile(path).catch(() => null);
    if (bytes === null) return false;
    try {
      check(bytes);
      const { serveBytes, serveSpooled } = await import("../../archive/serve-file.ts");
      // The folder may lie on another file system, where a rename cannot reach.
      await serveSpooled(path, target).catch(() => serveBytes(bytes, target));
      return true;
    } catch {
      return false;
    } finally {
      await rm(path, { force: true });
    }
  }

  async has(name: string): Promise<boolean> {
    return stat(join(this.path, name)).then(
      () => true,
      () => false,
    );
  }

  /** Puts a checked segment here, whole and synced. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    await writeDurably(join(this.path, name), bytes);
  }

  async readyCount(): Promise<number> {
    const names = await readdir(this.path).catch(() => []);
    return names.filter((name) => /^[0-9A-F]{24}$/.test(name)).length;
  }

  /** Removes segments that lie before `name` on any timeline. */
  async forgetBefore(name: string): Promise<void> {
    for (const other of await readdir(this.path).catch(() => [])) {
      if (/^[0-9A-F]{24}$/.test(other) && other.slice(8) <= name.slice(8)) {
        await rm(join(this.path, other), { force: true });
      }
    }
  }

  /** True while a living process fetches ahead. */
  async isBusy(): Promise<boolean> {
    const pid = Number(await readFile(join(this.path, LOCK), "utf8").catch(() => "0"));
    return pid > 0 && isAlive(pid);
  }

  /** Takes the place of the one process that fetches ahead; false when another has it. */
  async lock(): Promise<boolean> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    if (await this.isBusy()) return false;
    await rm(join(this.path, LOCK), { force: true });
    try {
      await using file = await open(join(this.path, LOCK), "wx", 0o600);
      await file.appendFile(String(process.pid));
      return true;
    } catch {
      return false;
    }
  }

  async unlock(): Promise<void> {
    await rm(join(this.path, LOCK), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

const LOCK = "lock";
