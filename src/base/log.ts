// Log lines: a fixed sentence and fields, as text for people or JSON for machines.

import { messageOf } from "./errors.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/** A sink for sentences with fields. Values of type Secret print as `[secret]`. */
export interface Log {
  debug(sentence: string, fields?: LogFields): void;
  info(sentence: string, fields?: LogFields): void;
  warn(sentence: string, fields?: LogFields): void;
  error(sentence: string, fields?: LogFields): void;
  /** A log that adds `fields` to every line. */
  child(fields: LogFields): Log;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "text" | "json";
  readonly write: (line: string) => void;
  readonly now: () => number;
}

const ORDER: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Makes a log; `write` gets whole lines without the newline. */
export function makeLog(options: LogOptions, fields: LogFields = {}): Log {
  const at = (level: LogLevel) => (sentence: string, more?: LogFields) => {
    if (ORDER[level] < ORDER[options.level]) return;
    const time = new Date(options.now()).toISOString();
    const all = { ...fields, ...more };
    options.write(
      options.format === "json" ? jsonLine(time, level, sentence, all) : textLine(time, level, sentence, all),
    );
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (more) => makeLog(options, { ...fields, ...more }),
  };
}

/** A log that keeps nothing. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

function jsonLine(time: string, level: LogLevel, sentence: string, fields: LogFields): string {
  return JSON.stringify({ time, level, message: sentence, ...fields }, printable);
}

function textLine(time: string, level: LogLevel, sentence: string, fields: LogFields): string {
  const tail = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${textValue(value)}`)
    .join("");
  return `${time} ${level.toUpperCase().padEnd(5)} ${sentence}${tail}`;
}

function textValue(value: unknown): string {
  const plain = printable("", value);
  const text = typeof plain === "string" ? plain : (JSON.stringify(plain, printable) ?? "null");
  return /[\s"=]/.test(text) && typeof plain === "string" ? JSON.stringify(text) : text;
}

function printable(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return messageOf(value);
  return value;
}
