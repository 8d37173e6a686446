// Children of the supervisor: started under a restart budget, stopped in order. The door to execa for long-running programs.

import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ChildHandle } from "../postgres/server.ts";
import { type ChildExit, decideRestart, type RestartBudget } from "./restart-budget.ts";

export interface ChildSpec {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited, so no key of the store reaches a child. */
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd?: string;
  readonly budget: RestartBudget;
  /** Sent in this order, each with its time before the next; SIGKILL ends the list. */
  readonly stop: readonly { readonly signal: NodeJS.Signals; readonly waitMs: number }[];
  /** Called for every line the child prints. */
  readonly onLine: (line: string) => void;
}

export interface Child {
  readonly name: string;
  /** Null while it is between two starts. */
  pid(): number | null;
  signal(signal: NodeJS.Signals): void;
  /** Ends it for good; resolves when it is gone. Idempotent; a second call hurries to SIGKILL. */
  stop(): Promise<void>;
  /** Resolves when it is gone for good: stopped, left alone after an exit, or past its budget. */
  readonly ended: Promise<ChildEnd>;
}

export type ChildEnd =
  | { readonly kind: "stopped" }
  | { readonly kind: "left"; readonly because: string }
  | { readonly kind: "gave-up"; readonly because: string };

/** Starts the child and keeps it alive within its budget. `onGone` hears of every exit that was not asked for. */
export function startChild(
  spec: ChildSpec,
  tools: { readonly clock: Clock; readonly log: Log; readonly onGone?: (exit: ChildExit) => void },
): Child {
  return new SupervisedChild(spec, tools);
}

class SupervisedChild implements Child {
  readonly name: string;
  readonly ended: Promise<ChildEnd>;
  readonly #spec: ChildSpec;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onGone: (exit: ChildExit) => void;
  readonly #stopping = new AbortController();
  readonly #hurry = new AbortController();
  #running: RunningProgram | null = null;

  constructor(
    spec: ChildSpec,
    { clock, log, onGone = () => undefined }: { clock: Clock; log: Log; onGone?: (exit: ChildExit) => void },
  ) {
    this.name = spec.name;
    this.#spec = spec;
    this.#clock = clock;
    this.#log = log.child({ child: spec.name });
    this.#onGone = onGone;
    this.ended = this.#keepAlive();
  }

  pid(): number | null {
    return this.#running?.pid ?? null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#running?.kill(signal);
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) this.#hurry.abort();
    this.#stopping.abort();
    await this.ended;
  }

  async #keepAlive(): Promise<ChildEnd> {
    const starts: number[] = [];
    for (;;) {
      starts.push(this.#clock.monotonicMs());
      const running = startProgram(this.#spec);
      this.#running = running;
      const exit = await this.#untilExit(running);
      this.#running = null;
      if (this.#stopping.signal.aborted) return { kind: "stopped" };
      this.#onGone(exit);
      const decision = decideRestart(this.#spec.budget, exit, starts, this.#clock.monotonicMs());
      if (decision.kind !== "restart") {
        this.#log[decision.kind === "leave" ? "info" : "error"]("a child is gone for good", {
          because: decision.because,
        });
        return { kind: decision.kind === "leave" ? "left" : "gave-up", because: decision.because };
      }
      this.#log.warn("a child is started again", { because: decision.because, pauseMs: decision.pauseMs });
      await this.#clock.sleep(decision.pauseMs, this.#stopping.signal).catch(() => undefined);
      if (this.#stopping.signal.aborted) return { kind: "stopped" };
    }
  }

  /** Resolves at the exit; when a stop is asked for, sends the spec's signals in their order. */
  async #untilExit(running: RunningProgram): Promise<ChildExit> {
    const stopRequested = aborted(this.#stopping.signal);
    const first = await Promise.race([running.exit, stopRequested.then(() => null)]);
    if (first !== null) return first;
    for (const { signal, waitMs } of this.#spec.stop) {
      if (this.#hurry.signal.aborted) break;
      running.kill(signal);
      const waiting = new AbortController();
      const paused = this.#clock
        .sleep(waitMs, AbortSignal.any([waiting.signal, this.#hurry.signal]))
        .catch(() => undefined)
        .then(() => null);
      const exit = await Promise.race([running.exit, paused]);
      waiting.abort();
      if (exit !== null) return exit;
      this.#log.warn("a child did not end in time", { signal, waitMs });
    }
    running.kill("SIGKILL");
    return await running.exit;
  }
}

/** Starts a program once; what keeps it alive, or not, is the caller's business. Resolves as soon as it runs. Throws when it cannot be started. */
export function spawnProgram(
  command: Omit<ChildSpec, "name" | "budget" | "stop" | "onLine">,
  onLine: (line: string) => void,
): ChildHandle {
  const program = startProgram({ ...command, onLine });
  if (program.pid === null)
    throw new AppError(`could not start "${command.file}"`, {
      code: "SPAWN",
      hint: "look whether the program exists and may be run",
    });
  return { pid: program.pid, exited: program.exit, kill: (signal) => program.kill(signal) };
}

/** One run of a program: its output goes to `onLine`, its exit is a value. */
interface RunningProgram {
  readonly pid: number | null;
  readonly exit: Promise<ChildExit>;
  /** False when it has ended already. */
  kill(signal: NodeJS.Signals): boolean;
}

type Program = Omit<ChildSpec, "name" | "budget" | "stop">;

function startProgram({ file, args, env, uid, gid, cwd, onLine }: Program): RunningProgram {
  const child = execa(file, [...args], {
    reject: false,
    cleanup: false,
    // A session of its own: Ctrl-C at a terminal is the supervisor's to pass on, in its order.
    detached: true,
    extendEnv: false,
    env: { PATH, LANG: "C.UTF-8", ...env },
    buffer: false,
    stdin: "ignore",
    all: true,
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  const reading = forwardLines(child.all, onLine);
  // Its own exit, not the end of its output: a process that it left behind may hold that for ever.
  const own = new Promise<ProgramExit>((resolve) =>
    child.nodeChildProcess.once("exit", (code, signal) =>
      resolve({ code: code ?? undefined, signal: signal ?? undefined }),
    ),
  );
  const failed = child.then(({ exitCode, signal }) => ({ code: exitCode, signal }));
  return {
    pid: child.pid ?? null,
    exit: exitOf(Promise.race([own, failed]), reading),
    kill: (signal) => child.kill(signal),
  };
}

interface ProgramExit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

async function exitOf(child: Promise<ProgramExit>, reading: Promise<void>): Promise<ChildExit> {
  const { code, signal } = await child;
  await Promise.race([reading, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
  // A program that cannot be run at all counts as the shell's "not found".
  if (code === undefined && signal === undefined) return { code: 127, signal: null };
  return { code: code ?? null, signal: signal ?? null };
}

/** Lines of a stream; a line is cut at `LINE_LIMIT_BYTES`, so that a child cannot fill the memory. */
async function forwardLines(stream: AsyncIterable<unknown>, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  try {
    for await (const piece of stream) {
      const lines = (rest + String(piece)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(line);
      if (rest.length > LINE_LIMIT_BYTES) {
        onLine(rest);
        rest = "";
      }
    }
  } catch {
    // A reading error means that the child is gone; its exit says the rest.
  }
  if (rest !== "") onLine(rest);
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** How long the output is read on after the exit. */
const LAST_WORDS_MS = 2_000;
const LINE_LIMIT_BYTES = 64 * 1024;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
