// `holdfast status`: one screen of truth about the running node.

import type { CommandContext } from "./commands.ts";

export async function runStatus(_args: readonly string[], context: CommandContext): Promise<number> {
  context.print("");
  return 0;
}
