// Log lines in WAL-G's shape: `INFO: 2026/11/23 11:19:14.848763 sentence key=value`.

import { messageOf } from "../../base/errors.ts";
import type { Log, LogFields } from "../../base/log.ts";
import { formatLogTime } from "./go-time.ts";

/** WAL-G's levels: ERROR shows errors only, DEVEL everything. */
export type WalgLevel = "NORMAL" | "DEVEL" | "ERROR";

/** A log for scripts that read WAL-G's; `write` gets whole lines without the newline. */
export function walgLog(level: WalgLevel, write: (line: string) => void, now: () => number): Log {
  return at({}, level, write, now);
}

function at(fields: LogFields, level: WalgLevel, write: (line: string) => void, now: () => number): Log {
  const line =
    (word: string, shown: boolean) =>
    (sentence: string, more?: LogFields): void => {
      if (shown) write(`${word}: ${formatLogTime(now())} ${sentence}${tail({ ...fields, ...more })}`);
    };
  return {
    debug: line("DEBUG", level === "DEVEL"),
    info: line("INFO", level !== "ERROR"),
    warn: line("WARNING", level !== "ERROR"),
    error: line("ERROR", true),
    child: (more) => at({ ...fields, ...more }, level, write, now),
  };
}

function tail(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${text(value)}`)
    .join("");
}

function text(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(messageOf(value));
  if (typeof value === "bigint") return value.toString();
  const plain = typeof value === "string" ? value : (JSON.stringify(value) ?? "null");
  return /[\s"=]/.test(plain) && typeof value === "string" ? JSON.stringify(plain) : plain;
}
