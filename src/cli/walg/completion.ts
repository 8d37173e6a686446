// Completion scripts for bash and zsh: the words of the commands and their flags, from the tables.

import { SETTING_NAMES, flagOfSetting } from "./settings-names.ts";

/** A command as completion needs it. */
export interface Completed {
  readonly path: string;
  readonly flags: readonly string[];
}

export type Shell = "bash" | "zsh";

export const isShell = (word: string | undefined): word is Shell => word === "bash" || word === "zsh";

/** The script for a shell; source it, or put it where the shell looks for completions. */
export function completionScript(program: string, shell: Shell, commands: readonly Completed[]): string {
  const name = `_${program.replaceAll("-", "_")}`;
  const body = bashFunction(name, commands);
  if (shell === "bash") return `${body}complete -o default -F ${name} ${program}\n`;
  return `#compdef ${program}\nautoload -U +X bashcompinit && bashcompinit\n${body}complete -o default -F ${name} ${program}\n`;
}

function bashFunction(name: string, commands: readonly Completed[]): string {
  const tops = new Set(commands.map(({ path }) => path.split(" ")[0]!));
  const cases = commands.map(({ path, flags }) => {
    const children = commands
      .filter(
        (other) =>
          other.path.startsWith(`${path} `) && other.path.split(" ").length === path.split(" ").length + 1,
      )
      .map((other) => other.path.split(" ").at(-1)!);
    return `    "${path}") words="${[...children, ...flags.map((flag) => `--${flag}`), "--help"].join(" ")}" ;;\n`;
  });
  const settings = SETTING_NAMES.map((setting) => `--${flagOfSetting(setting)}`);
  return `${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  case "$path" in
    "") words="${[...tops].join(" ")}" ;;
${cases.join("")}    *) words="" ;;
  esac
  case "$current" in
    --*-*) words="$words ${settings.join(" ")}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
`;
}
