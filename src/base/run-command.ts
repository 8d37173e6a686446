// Runs a program to its end; the door to execa for one-shot commands.

import { AppError } from "./errors.ts";

export interface CommandOptions {
  readonly cwd?: string;
  /** The whole environment of the child; nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly uid?: number;
  readonly gid?: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface CommandResult {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `file` and resolves whatever its exit status; rejects only when it could not be started or timed out. */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { execa } = await import("execa"); // 150 modules, which most commands do without
  const result = await execa(file, args, {
    reject: false,
    extendEnv: false,
    env: { PATH: DEFAULT_PATH, LANG: "C.UTF-8", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: "ignore" } : { input: options.input }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  if (result.exitCode === undefined && result.signal === undefined) {
    throw new CommandError(`could not run "${file}"`, result.cause);
  }
  if (result.timedOut) throw new CommandError(`"${file}" did not end within ${options.timeoutMs} ms`);
  return {
    exitCode: result.exitCode ?? null,
    signal: result.signal ?? null,
    stdout: result.stdout,
    stderr: result.stderr,
  };
}

/** As runCommand, but throws CommandError with stderr's last lines unless the exit status is 0. */
export async function mustRun(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const result = await runCommand(file, args, options);
  if (result.exitCode !== 0) {
    const how = result.exitCode === null ? `signal ${result.signal}` : `status ${result.exitCode}`;
    throw new CommandError(`"${file}" ended with ${how}: ${lastLines(result.stderr || result.stdout)}`);
  }
  return result;
}

export class CommandError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, { code: "COMMAND_FAILED", hint: "read the program's own message above", cause });
  }
}

const lastLines = (text: string): string => text.trim().split("\n").slice(-5).join(" | ");

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
