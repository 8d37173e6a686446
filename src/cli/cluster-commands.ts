// `holdfast cluster …`: asks the supervisor of this node, which asks the primary where only that can do it.

import { AppError, EXIT } from "../base/errors.ts";
import { callLocally } from "../supervisor/local-client.ts";
import type { CommandContext } from "./commands.ts";
import { socketPath } from "./status-command.ts";

const VERBS = ["status", "switchover", "pause", "resume", "forget", "reinit", "promote"] as const;

/** Exit status 0 when it was done, 1 when it was refused, 2 for wrong words. The last line says it in words; `--json` as an object. */
export async function runCluster(args: readonly string[], context: CommandContext): Promise<number> {
  const words = args.length === 0 ? ["status"] : [...args];
  const asJson = words.includes("--json");
  checkWords(words);
  // The socket splits at blanks: a name never holds one.
  const sent = words.filter((word) => word !== "--json" || words[0] === "status");
  const answer = await callLocally(socketPath(context), `cluster ${sent.join(" ")}`, context.signal);
  if (asJson && words[0] !== "status") {
    const lines = [...answer.lines];
    context.print(`${JSON.stringify({ ok: answer.exit === EXIT.ok, result: lines.at(-1) ?? "", lines })}\n`);
  } else for (const line of answer.lines) context.print(`${line}\n`);
  return answer.exit;
}

/** Throws AppError for words that mean nothing. */
export function checkWords([verb = "", ...rest]: readonly string[]): void {
  const fail = (message: string): never => {
    throw new AppError(message, {
      code: "USAGE",
      hint: "see `holdfast help cluster`",
      exitStatus: EXIT.usage,
    });
  };
  const known = VERBS.find((each) => each === verb);
  if (known === undefined) return fail(`"${verb}" is not known; one of ${VERBS.join(", ")}`);
  const names = rest.filter((word) => !word.startsWith("--"));
  const flags = rest.filter((word) => word.startsWith("--"));
  const allowed = known === "promote" ? ["--json", "--force"] : ["--json"];
  for (const flag of flags) if (!allowed.includes(flag)) fail(`"${flag}" is not known`);
  if (known === "forget" && names.length !== 1) fail("forget takes the member's name");
  const takesName = known === "switchover" || known === "forget" || known === "reinit";
  if (names.length > (takesName ? 1 : 0)) fail(`"${names.at(-1)}" is too much`);
  for (const name of names)
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) fail(`"${name}" cannot be a member's name`);
}
