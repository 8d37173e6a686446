// A lock between processes, held by the kernel: it ends with its holder, and works between containers that mount the same folder.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { AppError } from "./errors.ts";

/**
 * Runs `work` while holding flock(2) on `path`, a file or a folder. Node has no flock, so util-linux's `flock` holds it and
 * lets go when its standard input closes, at the latest when this process dies. `work` gets a check that throws FileLockError
 * if the holder was killed meanwhile; call it right before the step that needs the lock.
 */
export async function withFileLock<T>(
  path: string,
  signal: AbortSignal,
  work: (assertHeld: () => void) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const holder = spawn("flock", ["--exclusive", path, "sh", "-c", "echo held; cat > /dev/null"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ended = endOf(holder);
  const giveUp = (): void => void holder.kill("SIGKILL");
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    const held = await Promise.race([once(holder.stdout, "data").then(() => true), ended.then(() => false)]);
    signal.throwIfAborted();
    if (!held) throw new FileLockError(`could not lock "${path}"`, await ended);
    return await work(() => {
      if (holder.exitCode !== null || holder.signalCode !== null)
        throw new FileLockError(`lost the lock on "${path}"`);
    });
  } finally {
    signal.removeEventListener("abort", giveUp);
    holder.stdin.destroy();
    await ended;
  }
}

/** The lock could not be taken, or was lost. */
export class FileLockError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, {
      code: "FILE_LOCK",
      hint: "check that the program `flock` (package util-linux) is installed and that the file system supports locks",
      ...(cause === undefined || cause === null ? {} : { cause }),
    });
  }
}

/** Resolves when the process is gone, with the error if it could not be started. */
function endOf(child: ChildProcess): Promise<Error | null> {
  return new Promise((resolve) => {
    child.once("error", resolve);
    child.once("close", () => resolve(null));
  });
}
