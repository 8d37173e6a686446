// Help in the shape scripts and people know from WAL-G: usage, examples, flags, global flags.

import type { Flag } from "./flags.ts";

/** What help needs to know of a command. */
export interface HelpSubject {
  /** Words from the program on: `delete retain`. */
  readonly path: string;
  /** One or more sentences. */
  readonly summary: string;
  /** The last word and its arguments: `retain [FULL|FIND_FULL] backup_count`. */
  readonly use: string;
  readonly examples: readonly string[];
  /** Own flags, without help. */
  readonly flags: readonly Flag[];
  /** Flags of the commands above, and the global ones. */
  readonly inherited: readonly Flag[];
  /** Names of the commands below; empty for a leaf. */
  readonly children: readonly { readonly name: string; readonly summary: string }[];
}

/** The whole page, ended by a newline. */
export function helpText(program: string, subject: HelpSubject): string {
  return `${subject.summary}\n\n${usageText(program, subject)}`;
}

/** The page without the summary, as it follows a usage error. */
export function usageText(program: string, subject: HelpSubject): string {
  const parent = subject.path.split(" ").slice(0, -1).join(" ");
  const words = [program, parent, subject.use].filter((word) => word !== "").join(" ");
  const own = [...subject.flags, helpFlag(subject.path)].sort(byName);
  const isParent = subject.children.length > 0;
  return [
    `Usage:\n${words} ${isParent ? "[command]" : "[flags]"}\n`,
    subject.examples.length === 0
      ? ""
      : `Examples:\n${subject.examples.map((line) => `  ${line}\n`).join("")}`,
    isParent ? `Available Commands:\n${subject.children.map(childLine).join("")}` : "",
    `Flags:\n${flagLines(own)}`,
    subject.inherited.length === 0 ? "" : `Global Flags:\n${flagLines([...subject.inherited].sort(byName))}`,
    `To get the complete list of all global flags, run: '${program} flags'\n`,
    isParent
      ? `Use "${[program, subject.path].filter((word) => word !== "").join(" ")} [command] --help" for more information about a command.\n`
      : "",
  ]
    .filter((part) => part !== "")
    .join("\n");
}

const childLine = (child: { readonly name: string; readonly summary: string }): string =>
  `${child.name.padEnd(12)}${child.summary}\n`;

function helpFlag(path: string): Flag {
  const name = path.split(" ").at(-1);
  return { name: "help", short: "h", kind: "bool", usage: `help for ${name === "" ? "this program" : name}` };
}

function flagLines(flags: readonly Flag[]): string {
  const heads = flags.map((flag) => {
    const short = flag.short === undefined ? "    " : `-${flag.short}, `;
    const value = flag.kind === "bool" ? "" : ` ${flag.kind === "list" ? "strings" : flag.kind}`;
    return `  ${short}--${flag.name}${value}`;
  });
  const width = Math.max(...heads.map((head) => head.length)) + 3;
  return flags.map((flag, at) => `${heads[at]!.padEnd(width)}${flag.usage}\n`).join("");
}

const byName = (a: Flag, b: Flag): number => (a.name < b.name ? -1 : 1);
