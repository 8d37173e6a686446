// Messages between members: what is signed, and that none is taken twice. HTTP carries them; nothing here is secret but the key.

import { randomBytes } from "node:crypto";
import type { MemberKey } from "./member-key.ts";

/** A message on its way. `to` is the incarnation that it is meant for, empty when that is not known yet. */
export interface Posting {
  readonly path: string;
  readonly to: string;
  readonly from: string;
  /** Grows with every message of this sender. */
  readonly count: number;
  readonly body: string;
}

export interface PostedAnswer {
  readonly status: number;
  /** Of the process that answered. */
  readonly incarnation: string;
  readonly body: string;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** A name for one start of a process. */
export const newIncarnation = (): string => randomBytes(8).toString("hex");

/** The headers of a message. */
export function sealPosting(
  key: MemberKey,
  { path, to, from, count, body }: Posting,
): Record<string, string> {
  return {
    [TO]: to,
    [FROM]: from,
    [COUNT]: String(count),
    [MAC]: key.sign(["ask", path, to, from, String(count), body]),
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
  };
}

/** Reads a message's headers; null when it is not signed with this key. */
export function openPosting(key: MemberKey, path: string, headers: Headers, body: string): Posting | null {
  const to = headers[TO];
  const from = headers[FROM];
  const count = headers[COUNT];
  const mac = headers[MAC];
  if (typeof to !== "string" || typeof from !== "string") return null;
  if (typeof count !== "string" || typeof mac !== "string") return null;
  if (!key.verify(["ask", path, to, from, count, body], mac)) return null;
  return { path, to, from, count: Number(count), body };
}

/** The headers of an answer: it belongs to this message alone. */
export function sealAnswer(key: MemberKey, posting: Posting, answer: PostedAnswer): Record<string, string> {
  return { [FROM]: answer.incarnation, [MAC]: key.sign(answerParts(posting, answer)) };
}

/** Reads an answer; null when it is not signed for this message. */
export function checkAnswer(
  key: MemberKey,
  posting: Posting,
  status: number,
  headers: Headers,
  body: string,
): PostedAnswer | null {
  const incarnation = headers[FROM];
  const mac = headers[MAC];
  if (typeof incarnation !== "string" || typeof mac !== "string") return null;
  const answer = { status, incarnation, body };
  return key.verify(answerParts(posting, answer), mac) ? answer : null;
}

const answerParts = (posting: Posting, { status, incarnation, body }: PostedAnswer): string[] => [
  "answer",
  posting.path,
  posting.from,
  String(posting.count),
  incarnation,
  String(status),
  body,
];

/** Remembers how far each sender has counted, so that a recorded message is not taken again. */
export class CountBook {
  readonly #highest = new Map<string, number>();

  /** True for a message that is newer than all of its sender's before. */
  take(from: string, count: number): boolean {
    const highest = this.#highest.get(from) ?? 0;
    if (!Number.isSafeInteger(count) || count <= highest) return false;
    this.#highest.delete(from);
    this.#highest.set(from, count);
    const oldest = this.#highest.keys().next();
    if (this.#highest.size > SENDERS_MOST && oldest.done !== true) this.#highest.delete(oldest.value);
    return true;
  }
}

const TO = "x-holdfast-to";
const FROM = "x-holdfast-from";
const COUNT = "x-holdfast-count";
const MAC = "x-holdfast-mac";
/** More starts of members than any cluster sees while one of its processes lives. */
const SENDERS_MOST = 10_000;
