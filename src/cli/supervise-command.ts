// `holdfast supervise`: settings, wiring, and the main process of the image.

import type { CommandContext } from "./commands.ts";

export async function runSupervise(_args: readonly string[], context: CommandContext): Promise<number> {
  context.log.info("supervise");
  return 0;
}
