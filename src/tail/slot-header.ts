// Headers of slots and bases as JSON: the field table of protocol section 1.

import { unreachable } from "../base/errors.ts";
import { type Lsn, formatLsn, parseLsn } from "../wal/lsn.ts";
import { decodePath, encodePath } from "../wal/timeline-path.ts";
import type { ObjectHeader } from "./slot.ts";

/** The JSON value of a header, fields in the order of the protocol's table. */
export function formatHeader(header: ObjectHeader): Record<string, unknown> {
  const { kind, seq, epoch, token, previous, node, sha256, length, codec, cipher } = header;
  const common = {
    format: 1,
    kind,
    systemId: header.systemId.toString(),
    seq,
    epoch,
    token,
    previous,
    node,
    sha256,
    length,
    codec,
    cipher,
  };
  switch (header.kind) {
    case "fence":
      return { ...common, purpose: header.purpose, window: 16 };
    case "data": {
      const { timeline, start, end, newestCommit } = header;
      const time = newestCommit === null ? null : new Date(newestCommit).toISOString();
      return { ...common, timeline, start: formatLsn(start), end: formatLsn(end), newestCommit: time };
    }
    case "gap":
      return {
        ...common,
        timeline: header.timeline,
        start: formatLsn(header.start),
        end: formatLsn(header.end),
      };
    case "history": {
      const { timeline, parent, fork, promotion, cut } = header;
      return { ...common, timeline, parent, fork: formatLsn(fork), promotion, cut };
    }
    case "base": {
      const { timeline, promotion, line, lastTimeline, fences, histories } = header;
      const [begin, end, published] = [header.begin, header.end, header.published].map(formatLsn);
      return {
        ...common,
        timeline,
        promotion,
        line: encodePath(line),
        begin,
        end,
        published,
        lastTimeline,
        fences,
        histories,
      };
    }
    default:
      return unreachable(header);
  }
}

/** The header out of its stored bytes, or what is wrong with it, as the end of a sentence. Unknown fields are ignored. */
export function parseHeader(bytes: Uint8Array): ObjectHeader | string {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return "is not JSON";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "is not a JSON object";
  try {
    return headerOf(value as Record<string, unknown>);
  } catch (error) {
    if (error instanceof FieldError) return error.message;
    throw error;
  }
}

function headerOf(raw: Record<string, unknown>): ObjectHeader {
  const field = fieldsOf(raw);
  if (raw["format"] !== 1) throw new FieldError("has a format that this version does not know");
  const common = {
    systemId: field.systemId("systemId"),
    seq: field.position("seq"),
    epoch: field.position("epoch"),
    token: field.hex("token", 32),
    previous: field.hex("previous", 64),
    node: field.text("node"),
    sha256: field.hex("sha256", 64),
    length: field.position("length"),
    codec: field.oneOf("codec", ["none", "zstd", "lz4"] as const),
    cipher: field.oneOf("cipher", ["none", "libsodium", "openpgp"] as const),
  };
  const kind = field.oneOf("kind", ["fence", "data", "gap", "history", "base"] as const);
  switch (kind) {
    case "fence":
      if (raw["window"] !== 16) throw new FieldError("has a window other than 16");
      if (common.epoch !== common.seq)
        throw new FieldError("of a fence has an epoch other than its position");
      return { ...common, kind, purpose: field.oneOf("purpose", ["start", "promote", "restore"] as const) };
    case "data":
    case "gap": {
      const range = {
        timeline: field.timeline("timeline"),
        start: field.lsn("start"),
        end: field.lsn("end"),
      };
      if (range.end <= range.start) throw new FieldError("has an end at or before its start");
      if (kind === "gap") return { ...common, kind, ...range };
      if (BigInt(common.length) !== range.end - range.start)
        throw new FieldError("has a length other than end - start");
      return { ...common, kind, ...range, newestCommit: field.time("newestCommit") };
    }
    case "history":
      return {
        ...common,
        kind,
        timeline: field.timeline("timeline"),
        parent: field.timeline("parent"),
        fork: field.lsn("fork"),
        promotion: field.hex("promotion", 32),
        cut: field.flag("cut"),
      };
    case "base":
      return { ...common, kind, ...baseFields(raw, common.length) };
    default:
      return unreachable(kind);
  }
}

function baseFields(raw: Record<string, unknown>, length: number) {
  const field = fieldsOf(raw);
  const line = decodePath(raw["line"]);
  const timeline = field.timeline("timeline");
  if (line === null || line.at(-1)!.timeline !== timeline)
    throw new FieldError("has a line that is no path to its timeline");
  const end = field.lsn("end");
  const published = field.lsn("published");
  if (end - published !== BigInt(length)) throw new FieldError("has a length other than end - published");
  const fences = raw["fences"];
  if (!Array.isArray(fences) || !fences.every((at) => Number.isSafeInteger(at)))
    throw new FieldError("lacks fences");
  const histories: readonly unknown[] = Array.isArray(raw["histories"]) ? raw["histories"] : [];
  return {
    timeline,
    promotion: field.hex("promotion", 32),
    line,
    begin: field.lsn("begin"),
    end,
    published,
    lastTimeline: field.timeline("lastTimeline"),
    fences: fences as number[],
    histories: histories.map(historyEntry),
  };
}

function historyEntry(entry: unknown): readonly [number, string] {
  if (!Array.isArray(entry)) throw new FieldError("has histories that are no pairs");
  const [timeline, hash] = entry as unknown[];
  if (
    typeof timeline !== "number" ||
    !isTimeline(timeline) ||
    typeof hash !== "string" ||
    !/^[0-9a-f]{64}$/.test(hash)
  ) {
    throw new FieldError("has histories that are no pairs");
  }
  return [timeline, hash];
}

function fieldsOf(raw: Record<string, unknown>) {
  const bad = (name: string): FieldError => new FieldError(`has no valid "${name}"`);
  const text = (name: string): string => {
    const value = raw[name];
    if (typeof value !== "string") throw bad(name);
    return value;
  };
  const position = (name: string): number => {
    const value = raw[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw bad(name);
    return value;
  };
  return {
    text,
    position,
    hex(name: string, digits: number): string {
      const value = text(name);
      if (value.length !== digits || !/^[0-9a-f]+$/.test(value)) throw bad(name);
      return value;
    },
    systemId(name: string): bigint {
      const value = text(name);
      if (!/^\d{1,20}$/.test(value)) throw bad(name);
      return BigInt(value);
    },
    oneOf<T extends string>(name: string, allowed: readonly T[]): T {
      const value = allowed.find((each) => each === raw[name]);
      if (value === undefined) throw bad(name);
      return value;
    },
    timeline(name: string): number {
      const value = position(name);
      if (!isTimeline(value)) throw bad(name);
      return value;
    },
    lsn(name: string): Lsn {
      try {
        return parseLsn(text(name));
      } catch {
        throw bad(name);
      }
    },
    flag(name: string): boolean {
      const value = raw[name];
      if (typeof value !== "boolean") throw bad(name);
      return value;
    },
    time(name: string): number | null {
      if (raw[name] === null) return null;
      const value = Date.parse(text(name));
      if (Number.isNaN(value)) throw bad(name);
      return value;
    },
  };
}

class FieldError extends Error {}

const isTimeline = (value: number): boolean => Number.isInteger(value) && value >= 1 && value <= 0xffff_ffff;
