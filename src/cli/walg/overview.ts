// What `wal-g` says without a command: the list of commands, the version, all flags.

import { readFile } from "node:fs/promises";
import type { CommandContext } from "../commands.ts";
import { type Completed, completionScript, isShell } from "./completion.ts";
import { WALG_COMMANDS } from "./commands.ts";
import { flagOfSetting, SETTING_NAMES } from "./settings-names.ts";
import { UsageError } from "./flags.ts";

/** Answers a word that is no command of the table; null when it means nothing. Resolves to the exit status. */
export async function answerWord(args: readonly string[], context: CommandContext): Promise<number | null> {
  const [word, ...rest] = args;
  switch (word) {
    case undefined:
    case "--help":
    case "-h":
      context.print(overview(context.program));
      return 0;
    case "--version":
    case "-v":
    case "version":
      context.print(`${context.program} version Holdfast ${await ownVersion()}\n`);
      return 0;
    case "flags":
      context.print(allFlags());
      return 0;
    case "completion": {
      const shell = rest[0];
      if (!isShell(shell)) throw new UsageError("completion: name the shell, bash or zsh");
      context.print(completionScript(context.program, shell, await completable(context.program)));
      return 0;
    }
    default:
      return null;
  }
}

/** Of WAL-G's commands words and flags; of Holdfast's own the names. */
async function completable(program: CommandContext["program"]): Promise<readonly Completed[]> {
  const walg = WALG_COMMANDS.filter(
    ({ hidden, only }) => hidden !== true && (only === undefined || only === program),
  ).map(({ path, flags }) => ({ path, flags: flags.map(({ name }) => name) }));
  if (program === "wal-g") return walg;
  const { COMMANDS } = await import("../commands.ts");
  const own = COMMANDS.filter(
    ({ name, hidden }) => hidden !== true && !walg.some(({ path }) => path === name),
  );
  return [...walg, ...own.map(({ name, usage }) => ({ path: name, flags: flagsIn(usage) }))];
}

/** `--json` and its like in a line of usage. */
const flagsIn = (usage: string): readonly string[] =>
  [...usage.matchAll(/--([a-z][a-z-]*)/g)].map((match) => match[1]!);

function overview(program: string): string {
  const tops = WALG_COMMANDS.filter(
    (command) => !command.path.includes(" ") && command.hidden !== true && command.only === undefined,
  );
  const shown = [
    ...tops.map(({ path, summary }) => [path, summary] as const),
    ["completion", "Prints a completion script for bash or zsh"] as const,
    ["flags", "Prints every setting as a flag"] as const,
    ["help", "Help about any command"] as const,
  ].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  const lines = shown.map(([name, summary]) => `  ${name.padEnd(width)}${summary}\n`).join("");
  return `PostgreSQL backup tool: WAL-G's commands, flags and output, carried out by Holdfast\n\nUsage:\n  ${program} [command]\n\nAvailable Commands:\n${lines}\nFlags:\n      --config string   config file (default is $HOME/.walg.json, can also be set via WALG_CONFIG_PATH env var)\n  -h, --help            help for ${program}\n      --turbo           Ignore all kinds of throttling defined in config\n  -v, --version         version for ${program}\n\nUse "${program} [command] --help" for more information about a command.\n`;
}

function allFlags(): string {
  const lines = SETTING_NAMES.map((name) => `      --${flagOfSetting(name)} string   the setting ${name}\n`);
  return `All global flags; each is also a setting of the environment and of the configuration file:\n\n${lines.join("")}`;
}

async function ownVersion(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL("../../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}
