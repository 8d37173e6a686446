// Progress of long work: a bar where a person looks on, a line now and then in a log.

import { describeProgress, type Progress } from "../../base/progress.ts";
import type { Call } from "./command.ts";

/** A function that shows progress; a bar on a terminal, else a log line every ten seconds. */
export function progressShower(
  { log, clock }: Pick<Call, "log" | "clock">,
  what: string,
  terminal: { readonly isTTY?: boolean; write(text: string): unknown } = process.stderr,
): (progress: Progress) => void {
  if (terminal.isTTY === true) return (progress) => void terminal.write(bar(what, progress));
  let toldMs = clock.monotonicMs();
  return (progress) => {
    const isEnd = progress.remainingMs === 0;
    if (!isEnd && clock.monotonicMs() - toldMs < TELL_EVERY_MS) return;
    toldMs = clock.monotonicMs();
    log.info(`${what}: ${describeProgress(progress)}`);
  };
}

function bar(what: string, progress: Progress): string {
  const share = progress.totalBytes === 0 ? 0 : Math.min(1, progress.doneBytes / progress.totalBytes);
  const filled = Math.round(share * BAR_CELLS);
  const cells = `${"=".repeat(filled)}${" ".repeat(BAR_CELLS - filled)}`;
  return `\r\u001b[K${what} [${cells}] ${describeProgress(progress)}${progress.remainingMs === 0 ? "\n" : ""}`;
}

const BAR_CELLS = 24;
const TELL_EVERY_MS = 10_000;
