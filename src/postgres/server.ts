// One local Postgres server: start it as our own child, wait without a deadline, stop it in steps.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** A child process, as far as this file needs to know. `supervisor/process-tree.ts` makes the real ones. */
export interface ChildHandle {
  readonly pid: number;
  /** Resolves once it has ended; never rejects. */
  readonly exited: Promise<ChildExit>;
  /** False when it has ended already. */
  kill(signal: NodeJS.Signals): boolean;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface ChildCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
}

/** Starts a child; its output is the spawner's business. Throws when it cannot be started. */
export type Spawn = (command: ChildCommand) => ChildHandle | Promise<ChildHandle>;

export interface ServerCommand {
  /** The folder of `postgres`. */
  readonly bin: string;
  readonly dataDirectory: string;
  /** After `-D`, such as `-c port=5433`. Never a secret. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
}

/** Line 8 of postmaster.pid. `ready`: takes connections (on a standby read-only ones). `standby`: recovers, without connections. */
export type PostmasterStatus = "starting" | "stopping" | "ready" | "standby";

export interface StopLimits {
  /** How long a fast stop (SIGINT) may take before SIGQUIT. */
  readonly fastMs: number;
  /** How long an immediate stop may take before SIGKILL. */
  readonly immediateMs: number;
  /** Cuts the fast step short: somebody is in a hurry. */
  readonly hurry?: AbortSignal;
}

export type StopOutcome = {
  readonly kind: "fast" | "immediate" | "killed";
  readonly exit: ChildExit;
  readonly tookMs: number;
};

export interface ServerTools {
  readonly spawn: Spawn;
  readonly clock: Clock;
  readonly log: Log;
}

/** Starts `postgres -D`. The caller has made sure that the directory is complete (mark) and that no other server uses it. */
export async function startServer(command: ServerCommand, tools: ServerTools): Promise<Server> {
  const child = await tools.spawn({
    file: join(command.bin, "postgres"),
    args: ["-D", command.dataDirectory, ...(command.args ?? [])],
    cwd: command.dataDirectory,
    env: { PATH: PROGRAM_PATH, LANG: "C.UTF-8", TZ: "UTC", ...command.env },
    ...(command.uid === undefined ? {} : { uid: command.uid }),
    ...(command.gid === undefined ? {} : { gid: command.gid }),
  });
  return new Server(command.dataDirectory, child, tools);
}

export class Server implements AsyncDisposable {
  readonly dataDirectory: string;
  readonly exited: Promise<ChildExit>;
  readonly #child: ChildHandle;
  readonly #clock: Clock;
  readonly #log: Log;
  #exit: ChildExit | null = null;

  constructor(dataDirectory: string, child: ChildHandle, { clock, log }: Pick<ServerTools, "clock" | "log">) {
    this.dataDirectory = dataDirectory;
    this.#child = child;
    this.#clock = clock;
    this.#log = log;
    this.exited = child.exited.then((exit) => (this.#exit = exit));
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** False once it has ended. */
  get running(): boolean {
    return this.#exit === null;
  }

  /** What the postmaster says of itself; null before its first word and after its end. */
  async status(): Promise<PostmasterStatus | null> {
    return this.running ? postmasterStatus(this.dataDirectory, this.pid) : null;
  }

  /**
   * Resolves once connections are taken. No deadline: recovery may take hours; `onWait` is called about once a second meanwhile.
   * Throws ServerEndedError when the server ends first, the signal's reason when it aborts (the server runs on).
   */
  async ready(
    signal: AbortSignal,
    onWait?: (status: PostmasterStatus | null, waitedMs: number) => void,
  ): Promise<void> {
    const began = this.#clock.monotonicMs();
    let toldMs = 0;
    for (;;) {
      signal.throwIfAborted();
      if (this.#exit !== null) throw new ServerEndedError(this.#exit);
      const status = await this.status();
      if (status === "ready") return;
      const waitedMs = this.#clock.monotonicMs() - began;
      if (waitedMs - toldMs >= 1_000) {
        toldMs = waitedMs;
        onWait?.(status, waitedMs);
      }
      await this.#clock.sleep(waitedMs < 2_000 ? 20 : 200, signal);
    }
  }

  /** SIGHUP: reads the configuration files again. */
  reload(): void {
    this.#child.kill("SIGHUP");
  }

  /**
   * Stops in three steps: fast, which writes a shutdown checkpoint and waits for the WAL to be sent and archived; immediate, which leaves the next
   * start to recover; and at last SIGKILL. Resolves when the server has ended.
   */
  async stop(limits: StopLimits): Promise<StopOutcome> {
    const began = this.#clock.monotonicMs();
    const outcome = (kind: StopOutcome["kind"], exit: ChildExit): StopOutcome => {
      const tookMs = Math.round(this.#clock.monotonicMs() - began);
      this.#log[kind === "fast" ? "info" : "warn"](`Postgres stopped (${kind})`, { tookMs, ...exit });
      return { kind, exit, tookMs };
    };
    this.#child.kill("SIGINT");
    const fast = await this.#exitWithin(limits.fastMs, limits.hurry);
    if (fast !== null) return outcome("fast", fast);
    this.#log.warn("Postgres did not stop in time; it is stopped immediately", { fastMs: limits.fastMs });
    this.#child.kill("SIGQUIT");
    const immediate = await this.#exitWithin(limits.immediateMs);
    if (immediate !== null) return outcome("immediate", immediate);
    this.#child.kill("SIGKILL");
    return outcome("killed", await this.exited);
  }

  /**
   * The fence (G5): SIGQUIT, then `kill` after `limitMs`, by default a SIGKILL to the postmaster alone. The last acknowledgement was seen 5 to
   * 81 ms after the signal.
   */
  async quit(
    limitMs: number,
    kill = (_postmaster: number): void => void this.#child.kill("SIGKILL"),
  ): Promise<ChildExit> {
    this.#child.kill("SIGQUIT");
    const exit = await this.#exitWithin(limitMs);
    if (exit !== null) return exit;
    kill(this.pid);
    return this.exited;
  }

  /** Left by an error: the server must not outlive its owner. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.stop({ fastMs: 10_000, immediateMs: 5_000 });
  }

  async #exitWithin(limitMs: number, hurry?: AbortSignal): Promise<ChildExit | null> {
    const done = new AbortController();
    const limit = hurry === undefined ? done.signal : AbortSignal.any([done.signal, hurry]);
    const late = this.#clock.sleep(limitMs, limit).then(
      () => null,
      () => null,
    );
    try {
      return await Promise.race([this.exited, late]);
    } finally {
      done.abort();
    }
  }
}

/** The server ended while somebody waited for it. */
export class ServerEndedError extends AppError {
  readonly exit: ChildExit;

  constructor(exit: ChildExit) {
    const how = exit.code === null ? `signal ${exit.signal}` : `status ${exit.code}`;
    super(`Postgres ended with ${how} before it took connections`, {
      code: "POSTGRES_ENDED",
      hint: "read the server's last lines above; FATAL says why",
    });
    this.exit = exit;
  }
}

/** Reads postmaster.pid; null unless the file is of process `pid` (a left-over of an earlier life says nothing). */
async function postmasterStatus(dataDirectory: string, pid: number): Promise<PostmasterStatus | null> {
  let text: string;
  try {
    text = await readFile(join(dataDirectory, "postmaster.pid"), "utf8");
  } catch {
    return null;
  }
  // src/include/utils/pidfile.h: line 1 the pid, line 8 the status, padded.
  const lines = text.split("\n");
  const status = lines[7]?.trim();
  if (Number(lines[0]) !== pid || status === undefined) return null;
  return isStatus(status) ? status : null;
}

const isStatus = (text: string): text is PostmasterStatus =>
  text === "starting" || text === "stopping" || text === "ready" || text === "standby";

const PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
