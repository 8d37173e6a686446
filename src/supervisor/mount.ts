// Is the volume a volume? Data in the container's own layer is lost with the container, and nobody notices before.

import { readFile } from "node:fs/promises";

/** True when `path` or a folder above it, short of the root, is a mount of its own. Null where the system does not tell. */
export async function isOnMount(
  path: string,
  mountinfoPath = "/proc/self/mountinfo",
): Promise<boolean | null> {
  const text = await readFile(mountinfoPath, "utf8").catch(() => null);
  return text === null ? null : holdsMount(text, path);
}

/** Reads the lines of /proc/self/mountinfo (proc_pid_mountinfo(5)): the fifth field is the mount point, octal escapes for blanks. Pure. */
export function holdsMount(mountinfo: string, path: string): boolean {
  const points = mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4])
    .filter((point) => point !== undefined && point !== "/")
    .map((point) =>
      point!.replaceAll(/\\(\d{3})/g, (_whole, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    );
  return points.some((point) => path === point || path.startsWith(`${point}/`));
}
