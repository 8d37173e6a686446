// A real program of a few lines that behaves badly on purpose: ignores signals, is slow to end, writes its pid file late.

import { spawn, type ChildProcess } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ChildCommand, ChildExit, ChildHandle } from "../../src/postgres/server.ts";

export interface FakeOptions {
  /** Signals it notes and survives. */
  readonly ignores?: readonly NodeJS.Signals[];
  /** Signals it notes and ends on, with this exit status. */
  readonly exitsOn?: Readonly<Partial<Record<NodeJS.Signals, number>>>;
  /** Ends by itself after so long, with this status. */
  readonly exitsAfter?: { readonly ms: number; readonly status: number };
  /** Lines of postmaster.pid in its data directory (`-D`), each written so many milliseconds after the start. */
  readonly pidFile?: readonly { readonly afterMs: number; readonly status: string; readonly pid?: number }[];
}

/** A fake of `postgres`: `bin` is its folder, `spawn` starts it as `startServer` wants it. */
export interface FakeProgram extends AsyncDisposable {
  readonly bin: string;
  readonly dataDirectory: string;
  readonly spawn: (command: ChildCommand) => ChildHandle;
  /** Signals it has noted so far, in their order. */
  received(): Promise<readonly string[]>;
  /** Resolves once it runs and has its handlers in place. */
  started(): Promise<void>;
}

/** Writes the program; whatever it started is killed at the end. */
export async function fakePostgres(options: FakeOptions): Promise<FakeProgram> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-fake-"));
  const log = join(folder, "received");
  const path = join(folder, "postgres");
  await writeFile(log, "");
  await writeFile(path, script(log, options));
  await chmod(path, 0o755);
  const children: ChildProcess[] = [];
  const lines = async (): Promise<readonly string[]> =>
    (await readFile(log, "utf8")).split("\n").filter((line) => line !== "");
  return {
    bin: folder,
    dataDirectory: folder,
    spawn: (command) => {
      const child = spawn(command.file, command.args, {
        cwd: command.cwd,
        env: { ...command.env },
        stdio: "ignore",
      });
      children.push(child);
      return handleOf(child);
    },
    received: async () => (await lines()).filter((line) => line !== "started"),
    started: async () => {
      while (!(await lines()).includes("started")) await delay(10);
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await ended;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A child process as `postgres/server.ts` sees one. */
export function handleOf(child: ChildProcess): ChildHandle {
  const { pid } = child;
  if (pid === undefined) throw new Error("the child could not be started");
  return {
    pid,
    exited: new Promise<ChildExit>((resolve) =>
      child.once("exit", (code, signal) => resolve({ code, signal })),
    ),
    kill: (signal) => child.kill(signal),
  };
}

function script(log: string, { ignores = [], exitsOn = {}, exitsAfter, pidFile = [] }: FakeOptions): string {
  return `#!${process.execPath}
const { appendFileSync, writeFileSync } = require("node:fs");
const note = (line) => appendFileSync(${JSON.stringify(log)}, line + "\\n");
for (const signal of ${JSON.stringify(ignores)}) process.on(signal, () => note(signal));
for (const [signal, status] of Object.entries(${JSON.stringify(exitsOn)})) {
  process.on(signal, () => { note(signal); process.exit(status); });
}
const folder = process.argv[process.argv.indexOf("-D") + 1];
for (const { afterMs, status, pid } of ${JSON.stringify(pidFile)}) {
  setTimeout(() => writeFileSync(folder + "/postmaster.pid",
    [pid ?? process.pid, folder, 0, 5432, folder, "localhost", " 1 2", status.padEnd(8)].join("\\n") + "\\n"), afterMs);
}
${exitsAfter === undefined ? "" : `setTimeout(() => process.exit(${exitsAfter.status}), ${exitsAfter.ms});`}
setInterval(() => undefined, 1000);
note("started");
`;
}
