// One other member, asked over a connection that is kept open: its close is the fastest sign of a death.

import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from "node:http";
import { type Socket, isIP } from "node:net";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { AskFailure } from "./detection.ts";
import { type PostedAnswer, type Posting, checkAnswer, newIncarnation, sealPosting } from "./member-wire.ts";
import type { MemberKey } from "./member-key.ts";
import type { Member } from "./members.ts";
import type { Resolve } from "./resolve.ts";

export interface PeerTools {
  readonly key: MemberKey;
  /** This process's own incarnation. */
  readonly incarnation: string;
  /** The port of checks, where members answer. */
  readonly port: number;
  readonly resolve: Resolve;
  readonly clock: Clock;
  /** The member closed a connection that had answered. */
  readonly onClose: () => void;
}

/** An ask or a call that brought no good answer. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly failure: AskFailure;

  constructor(failure: AskFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

export class Peer implements Disposable {
  readonly member: Member;
  readonly #tools: PeerTools;
  readonly #agent: Agent;
  /** Sockets that this side ends: their close says nothing. */
  readonly #ours = new WeakSet<Socket>();
  readonly #answered = new WeakSet<Socket>();
  readonly #watched = new WeakSet<Socket>();
  /** A connection whose answer was late: left open for a while, because its close still tells of a death. */
  #lingering: Socket | null = null;
  /** The incarnation of the process over there, as far as known. */
  #to = "";
  #count = 0;
  /** Counted by itself: two connections of one process may overtake each other. */
  readonly #channel: string;
  /** Where the last good answer came from. */
  address: string | null = null;

  constructor(member: Member, tools: PeerTools) {
    this.member = member;
    this.#tools = tools;
    this.#channel = `${tools.incarnation}/${newIncarnation()}`;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 2 });
  }

  /** The body of the answer to `path`. Rejects with PeerError within `limitMs`. */
  async post(path: string, body: string, limitMs: number): Promise<string> {
    const deadline = this.#tools.clock.monotonicMs() + limitMs;
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.#postOnce(path, body, deadline - this.#tools.clock.monotonicMs());
      this.#to = answer.incarnation;
      if (answer.status === 200) return answer.body;
      // 409: another process answers there now, or this is the first word to it; its answer said which.
      if (answer.status !== 409 || attempt > 1)
        throw new PeerError("bad-answer", `${this.member.name} answered ${answer.status}: ${answer.body}`);
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #postOnce(path: string, body: string, limitMs: number): Promise<PostedAnswer> {
    const { key } = this.#tools;
    this.#count += 1;
    const posting: Posting = { path, to: this.#to, from: this.#channel, count: this.#count, body };
    const { status, headers, text, socket } = await this.#exchange(posting, limitMs);
    const answer = checkAnswer(key, posting, status, headers, text);
    if (answer === null)
      throw new PeerError("bad-answer", `${this.member.name} does not know this cluster's password`);
    this.#answered.add(socket);
    this.address = plainAddress(socket.remoteAddress ?? null) ?? this.address;
    return answer;
  }

  async #exchange(posting: Posting, limitMs: number): Promise<Exchanged> {
    const { name, host } = this.member;
    const began = this.#tools.clock.monotonicMs();
    const options = await this.#target(limitMs);
    const leftMs = Math.max(1, limitMs - (this.#tools.clock.monotonicMs() - began));
    return await new Promise((resolve, reject) => {
      let used: Socket | null = null;
      const call = request({
        ...options,
        agent: this.#agent,
        path: posting.path,
        method: "POST",
        headers: { ...sealPosting(this.#tools.key, posting), host: name },
      });
      const give = (failure: AskFailure, because: string): void => {
        clearTimeout(timer);
        reject(new PeerError(failure, `${name} (${host}): ${because}`));
        if (failure === "timeout" && used !== null) {
          if (this.#linger(used, call)) return;
          // A socket that this side gives up on says nothing by its close.
          this.#ours.add(used);
        }
        call.destroy();
      };
      const timer = setTimeout(() => give("timeout", `no answer within ${Math.round(limitMs)} ms`), leftMs);
      const take = async (response: IncomingMessage): Promise<void> => {
        const { statusCode = 0, headers, socket } = response;
        const text = await readText(response);
        clearTimeout(timer);
        resolve({ status: statusCode, headers, text, socket });
      };
      call.on("socket", (socket) => {
        used = socket;
        this.#watch(socket);
      });
      call.on("error", (error) => give(failureOf(error), messageOf(error)));
      call.on("response", (response) => {
        take(response).catch((error: unknown) => give("reset", messageOf(error)));
      });
      call.end(posting.body);
    });
  }

  /** An open connection needs no name; the agent finds it by the member's name, whatever its address. */
  async #target(limitMs: number): Promise<RequestOptions> {
    const { port, resolve, clock } = this.#tools;
    const { host, name } = this.member;
    const isOpen = Object.values(this.#agent.freeSockets).some((sockets) => (sockets ?? []).length > 0);
    if (isOpen) return { host, port };
    const done = new AbortController();
    const late = clock.sleep(limitMs, done.signal).then(
      () => null,
      () => null,
    );
    const addresses = await Promise.race([resolve(host), late]);
    done.abort();
    if (addresses === null) throw new PeerError("dns", `${name}: "${host}" was not resolved in time`);
    if (addresses.length === 0) throw new PeerError("dns", `${name}: "${host}" does not resolve`);
    const found = addresses.map((address) => ({ address, family: isIP(address) }));
    return {
      host,
      port,
      lookup: (_host, options, give) =>
        options.all === true ? give(null, found) : give(null, found[0]!.address, found[0]!.family),
    };
  }

  /** Leaves a late answer's connection open, one at a time; false when it has to be closed. */
  #linger(socket: Socket, call: ClientRequest): boolean {
    if (this.#lingering !== null || !this.#answered.has(socket)) return false;
    this.#lingering = socket;
    const timer = setTimeout(() => {
      this.#ours.add(socket);
      call.destroy();
    }, LINGER_MS);
    call.once("close", () => {
      clearTimeout(timer);
      this.#lingering = null;
    });
    return true;
  }

  #watch(socket: Socket): void {
    if (this.#watched.has(socket)) return;
    this.#watched.add(socket);
    socket.once("close", () => {
      if (this.#ours.has(socket) || !this.#answered.has(socket)) return;
      this.#tools.onClose();
    });
  }
}

interface Exchanged {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly socket: Socket;
}

async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let text = "";
  for await (const piece of response) {
    text += String(piece);
    if (text.length > ANSWER_CHARS_MOST)
      throw new Error(`an answer of more than ${ANSWER_CHARS_MOST} characters`);
  }
  return text;
}

function failureOf(error: unknown): AskFailure {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code === "ECONNREFUSED") return "refused";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "unreachable";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "dns";
  return "reset";
}

/** `::ffff:10.0.0.2` is an IPv4 address to HAProxy and Postgres. */
const plainAddress = (address: string | null): string | null =>
  address === null ? null : address.replace(/^::ffff:(?=\d+\.)/, "");

/** Below the silence that counts as a death: by then its close would tell nothing new. */
const LINGER_MS = 6_000;
const ANSWER_CHARS_MOST = 64 * 1024;
