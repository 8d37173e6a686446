// The command line under the name `wal-g`: finds the command, its flags and settings, runs it, and turns errors into exit statuses.

import { appendFileSync } from "node:fs";
import { AppError, EXIT, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { CommandContext } from "../commands.ts";
import { type Call, FlagValues, Settings, type WalgCommand } from "./command.ts";
import { WALG_COMMANDS } from "./commands.ts";
import { readConfigFile } from "./config-file.ts";
import { type Flag, parseFlags, UsageError } from "./flags.ts";
import { helpText, type HelpSubject, usageText } from "./help.ts";
import { answerWord } from "./overview.ts";
import { openSession, type SessionTools } from "./session.ts";
import { flagOfSetting, SETTING_NAMES } from "./settings-names.ts";
import { walgLog } from "./walg-log.ts";

export const GLOBAL_FLAGS: readonly Flag[] = [
  {
    name: "config",
    kind: "string",
    usage: "config file (default is $HOME/.walg.json, can also be set via WALG_CONFIG_PATH env var)",
  },
  { name: "turbo", kind: "bool", usage: "Ignore all kinds of throttling defined in config" },
];

const HELP_FLAG: Flag = { name: "help", short: "h", kind: "bool", usage: "help" };

const SETTING_FLAGS: readonly Flag[] = SETTING_NAMES.map((name) => ({
  name: flagOfSetting(name),
  kind: "string",
  usage: `the setting ${name}`,
}));

/** Runs one WAL-G command line to its exit status. */
export async function runWalg(
  args: readonly string[],
  context: CommandContext,
  tools: SessionTools = {},
): Promise<number> {
  const isHelp = args[0] === "help" && args.length > 1;
  const found = findWalgCommand(isHelp ? [...args.slice(1), "--help"] : args, context.program);
  const write = tools.writeError ?? ((text: string): void => void process.stderr.write(text));
  if (found === null) return answerOther(args, context, write);
  const { command, rest } = found;
  const subject = subjectOf(command, context.program);
  let parsed: ReturnType<typeof parseFlags>;
  let flags: FlagValues;
  try {
    parsed = parseFlags(rest, [...command.flags, ...subject.inherited, HELP_FLAG, ...SETTING_FLAGS]);
    flags = new FlagValues(parsed.values);
    if (flags.isOn("help") || subject.children.length > 0) {
      context.print(helpText(context.program, subject));
      return EXIT.ok;
    }
    command.check(parsed.rest, flags, context.clock);
  } catch (error) {
    if (error instanceof UsageError) return usageError(error, subject, context, write);
    throw error;
  }
  let log = logOf(context, context.env, write);
  try {
    const settings = await settingsOf(flags, context, log);
    log = logOf(context, settings.env, write);
    const session = openSession(settings, flags, context, log, tools);
    const call: Call = {
      args: parsed.rest,
      flags,
      context,
      settings,
      ...session,
      ...contextParts(context, log),
    };
    return await command.run(call);
  } catch (error) {
    return explain(error, context, log, write);
  }
}

const contextParts = (
  context: CommandContext,
  log: Log,
): Pick<Call, "log" | "clock" | "signal" | "print"> => ({
  log,
  clock: context.clock,
  signal: context.signal,
  print: context.print,
});

/** The command that the words among `args` name, and the arguments without those words. */
export function findWalgCommand(
  args: readonly string[],
  program: CommandContext["program"],
): { readonly command: WalgCommand; readonly rest: readonly string[] } | null {
  const rest: string[] = [];
  let command: WalgCommand | null = null;
  let at = 0;
  for (; at < args.length; at += 1) {
    const arg = args[at]!;
    if (arg.startsWith("-")) {
      rest.push(arg);
      if (takesValue(arg, command)) rest.push(...args.slice((at += 1), at + 1));
      continue;
    }
    const path: string = command === null ? arg : `${command.path} ${arg}`;
    const below: WalgCommand | undefined = WALG_COMMANDS.find(
      (other) => other.path === path && (other.only === undefined || other.only === program),
    );
    if (below === undefined) break;
    command = below;
  }
  return command === null ? null : { command, rest: [...rest, ...args.slice(at)] };
}

/** True when a flag before or among the command's words is followed by its value. */
function takesValue(arg: string, command: WalgCommand | null): boolean {
  if (!arg.startsWith("--") || arg.includes("=")) return false;
  const known = [...GLOBAL_FLAGS, ...SETTING_FLAGS, ...(command?.flags ?? [])];
  const flag = known.find(({ name }) => name === arg.slice(2));
  return flag !== undefined && flag.kind !== "bool";
}

/** What help says of a command. */
export function subjectOf(command: WalgCommand, program: CommandContext["program"]): HelpSubject {
  const words = command.path.split(" ");
  const parents = WALG_COMMANDS.filter(
    (other) => other !== command && command.path.startsWith(`${other.path} `),
  );
  const children = WALG_COMMANDS.filter(
    (other) =>
      other.path.startsWith(`${command.path} `) &&
      other.path.split(" ").length === words.length + 1 &&
      (other.only === undefined || other.only === program),
  );
  return {
    ...command,
    inherited: [...GLOBAL_FLAGS, ...parents.flatMap((parent) => parent.flags)],
    children: children.map((child) => ({ name: child.path.split(" ").at(-1)!, summary: "" })),
  };
}

async function settingsOf(flags: FlagValues, context: CommandContext, log: Log): Promise<Settings> {
  const { env } = context;
  const given = Object.fromEntries(
    SETTING_NAMES.flatMap((name) => {
      const value = flags.text(flagOfSetting(name));
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const path = flags.text("config") ?? given["WALG_CONFIG_PATH"] ?? env["WALG_CONFIG_PATH"];
  const file = await readConfigFile(path === "" ? undefined : path, env["HOME"]);
  const fromFile = file?.values ?? {};
  const unknown = Object.keys(fromFile).filter((name) => !isKnown(name));
  if (unknown.length > 0) log.warn(`${file!.path}: unknown settings ${unknown.join(", ")}`);
  return new Settings({ ...fromFile, ...present(env), ...given });
}

const isKnown = (name: string): boolean =>
  SETTING_NAMES.includes(name) ||
  SETTING_NAMES.includes(name.replace(/^WALE_/, "WALG_")) ||
  name.startsWith("WALG_FAILOVER_STORAGES");

/** Without the empty values: a file's value must not be hidden by `NAME=` in the environment. */
const present = (env: CommandContext["env"]): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));

function logOf(context: CommandContext, env: CommandContext["env"], write: (text: string) => void): Log {
  if (context.program !== "wal-g") return context.log;
  const asked = env["WALG_LOG_LEVEL"];
  const level = asked === "DEVEL" || asked === "ERROR" ? asked : "NORMAL";
  const file = env["WALG_LOG_DESTINATION"];
  const out = file === undefined || file === "" || file === "stderr" ? write : appending(file, write);
  return walgLog(
    level,
    (line) => out(`${line}\n`),
    () => context.clock.now(),
  );
}

/** Opens the file anew for each line, so that it can be moved away; what cannot be written there goes to standard error. */
const appending =
  (path: string, otherwise: (text: string) => void) =>
  (text: string): void => {
    try {
      appendFileSync(path, text);
    } catch {
      otherwise(text);
    }
  };

function usageError(
  error: UsageError,
  subject: HelpSubject,
  context: CommandContext,
  write: (text: string) => void,
): number {
  if (context.program === "wal-g") {
    context.print(`${error.message}\n`);
    write(`Error: ${error.message}\n${usageText(context.program, subject)}\n`);
    return EXIT.failure;
  }
  write(`holdfast: ${error.message}\nHINT: ${error.hint}; \`holdfast help ${subject.path}\`\n`);
  return EXIT.usage;
}

async function answerOther(
  args: readonly string[],
  context: CommandContext,
  write: (text: string) => void,
): Promise<number> {
  const { program } = context;
  const failed = program === "wal-g" ? EXIT.failure : EXIT.usage;
  try {
    const status = await answerWord(args[0] === "help" ? args.slice(1) : args, context);
    if (status !== null) return status;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    write(`Error: ${error.message}\n`);
    return failed;
  }
  const name = args.find((arg) => !arg.startsWith("-")) ?? args[0]!;
  write(`Error: unknown command "${name}" for "${program}"\nRun '${program} --help' for usage.\n`);
  return failed;
}

function explain(error: unknown, context: CommandContext, log: Log, write: (text: string) => void): number {
  if (context.program !== "wal-g" || !(error instanceof AppError)) throw error;
  log.error(messageOf(error));
  write(`HINT: ${error.hint}\n`);
  return error.exitStatus === EXIT.usage ? EXIT.failure : error.exitStatus;
}
