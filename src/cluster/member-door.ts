// The other side of `peer.ts`: takes members' messages on the port of checks, and answers.

import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { MemberKey } from "./member-key.ts";
import { CountBook, openPosting, sealAnswer } from "./member-wire.ts";

/** Answers the body of a message; throws for a refusal that the sender shall read. */
export type MemberHandler = (body: string) => Promise<string> | string;

export interface MemberDoorOptions {
  readonly key: MemberKey;
  readonly incarnation: string;
  readonly handlers: Readonly<Record<string, MemberHandler>>;
  readonly log: Log;
}

export class MemberDoor {
  readonly #options: MemberDoorOptions;
  readonly #counts = new CountBook();

  constructor(options: MemberDoorOptions) {
    this.#options = options;
  }

  /** True when the request is a member's: it will be answered. */
  readonly take = (request: IncomingMessage, response: ServerResponse): boolean => {
    const path = request.url ?? "";
    if (request.method !== "POST" || !Object.hasOwn(this.#options.handlers, path)) return false;
    response.on("error", () => undefined);
    this.#answer(path, request, response).catch((error: unknown) => {
      this.#options.log.debug("a member's message was not answered", { path, because: messageOf(error) });
      response.destroy();
    });
    return true;
  };

  async #answer(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { key, incarnation, handlers } = this.#options;
    const body = await readBody(request);
    const posting = openPosting(key, path, request.headers, body);
    if (posting === null) {
      response.writeHead(401, { connection: "close" }).end("not signed with this cluster's password");
      return;
    }
    const send = (status: number, text: string): void => {
      const headers = sealAnswer(key, posting, { status, incarnation, body: text });
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(text) });
      response.end(text);
    };
    // Meant for an earlier process here, or recorded: its sender learns the incarnation and signs anew.
    if (posting.to !== incarnation) return send(409, "another incarnation");
    if (!this.#counts.take(posting.from, posting.count)) return send(400, "this message came before");
    let text: string;
    try {
      text = await handlers[path]!(body);
    } catch (error) {
      return send(500, messageOf(error));
    }
    send(200, text);
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  request.setEncoding("utf8");
  let text = "";
  for await (const piece of request) {
    text += String(piece);
    if (text.length > BODY_CHARS_MOST)
      throw new Error(`a message of more than ${BODY_CHARS_MOST} characters`);
  }
  return text;
}

const BODY_CHARS_MOST = 64 * 1024;
