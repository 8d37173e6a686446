// The edge of the program: a name and arguments in, an exit status out.

import { systemClock } from "../base/clock.ts";
import { AppError, EXIT, InvariantError, messageOf } from "../base/errors.ts";
import { type Log, type LogLevel, makeLog } from "../base/log.ts";
import { type Command, type CommandContext, COMMANDS, findCommand } from "./commands.ts";

/** Runs one command line and resolves to its exit status; prints errors with their hints to standard error. */
export async function main(program: CommandContext["program"], args: readonly string[]): Promise<number> {
  const log = logFrom(process.env, program);
  if (program === "wal-g")
    return runWith(program, log, async (context) =>
      (await import("./walg/program.ts")).runWalg(args, context),
    );
  const [name, ...rest] = args;
  if (name === undefined || name === "help" || name === "--help" || name === "-h")
    return help(program, rest[0]);
  if (name === "--version" || name === "-v" || name === "version") return version(program);
  const command = findCommand(program, name);
  if (command === null) {
    process.stderr.write(`${program}: unknown command "${name}"; see \`${program} help\`\n`);
    return EXIT.usage;
  }
  if (command.hasOwnHelp !== true && (rest.includes("--help") || rest.includes("-h")))
    return help(program, name);
  if (name !== "supervise") return runWith(program, log, (context) => command.run(rest, context));
  const status = await runWith(program, log, (context) => command.run(rest, context), false);
  // Whatever still holds the event loop must not keep a container up whose node has ended.
  setTimeout(() => process.exit(status), LAST_WORDS_MS).unref();
  return status;
}

/** Runs `work` with a signal that aborts at SIGINT and SIGTERM; errors become exit statuses. */
async function runWith(
  program: CommandContext["program"],
  log: Log,
  work: (context: CommandContext) => Promise<number>,
  takesSignals = true,
): Promise<number> {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(new InterruptedError(signal));
  if (takesSignals) for (const signal of STOP_SIGNALS) process.once(signal, onSignal);
  try {
    return await work(contextOf(program, log, stop.signal));
  } catch (error) {
    return explain(program, error);
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
  }
}

function contextOf(program: CommandContext["program"], log: Log, signal: AbortSignal): CommandContext {
  return {
    program,
    env: process.env,
    clock: systemClock,
    log,
    print: (text) => void process.stdout.write(text),
    isTerminal: process.stdout.isTTY,
    signal,
  };
}

/** Prints what went wrong and what to check; an unexpected error also prints its stack. */
function explain(program: string, error: unknown): number {
  if (error instanceof InterruptedError) return 130;
  if (error instanceof AppError) {
    process.stderr.write(`${program}: ${messageOf(error)}\nHINT: ${error.hint}\n`);
    return error.exitStatus;
  }
  const stack = error instanceof Error && error.stack !== undefined ? `\n${error.stack}` : "";
  const kind = error instanceof InvariantError ? "broken invariant" : "unexpected error";
  process.stderr.write(`${program}: ${kind}: ${messageOf(error)}${stack}\n`);
  return EXIT.failure;
}

class InterruptedError extends Error {
  constructor(signal: string) {
    super(`interrupted by ${signal}`);
    this.name = "InterruptedError";
  }
}

function help(program: CommandContext["program"], topic: string | undefined): number {
  const command = topic === undefined ? null : findCommand(program, topic);
  if (topic !== undefined && command === null) {
    process.stderr.write(`${program}: unknown command "${topic}"; see \`${program} help\`\n`);
    return EXIT.usage;
  }
  process.stdout.write(command === null ? overview(program) : page(program, command));
  return EXIT.ok;
}

function overview(program: CommandContext["program"]): string {
  const shown = COMMANDS.filter((command) => command.programs.includes(program) && command.hidden !== true);
  const width = Math.max(...shown.map((command) => command.name.length), 4);
  const lines = shown.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`);
  return `usage: ${program} COMMAND [arguments]\n\n${lines.join("\n")}\n\n\`${program} help COMMAND\` has examples. Exit statuses: 0 done, 1 failed, 2 wrong usage or settings, 74 no such file in the archive.\n`;
}

function page(program: string, command: Command): string {
  const examples = command.examples.map((example) => `  ${example}\n`).join("");
  return `usage: ${program} ${command.name} ${command.usage}\n\n${command.summary}\n\nExamples:\n${examples}`;
}

async function version(program: string): Promise<number> {
  const { programVersion } = await import("./wiring.ts");
  process.stdout.write(`${program} (Holdfast) ${await programVersion()}\n`);
  return EXIT.ok;
}

function logFrom(env: Readonly<Record<string, string | undefined>>, program: string): Log {
  const asked =
    env["HOLDFAST_LOG_LEVEL"] ?? (program === "wal-g" ? walgLevel(env["WALG_LOG_LEVEL"]) : "info");
  return makeLog({
    level: isLevel(asked) ? asked : "info",
    format: env["HOLDFAST_LOG_FORMAT"] === "json" ? "json" : "text",
    write: (line) => void process.stderr.write(`${line}\n`),
    now: () => Date.now(),
  });
}

const walgLevel = (level: string | undefined): string => (level === "DEVEL" ? "debug" : "info");
const isLevel = (text: string): text is LogLevel => ["debug", "info", "warn", "error"].includes(text);

const LAST_WORDS_MS = 2_000;
const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;
