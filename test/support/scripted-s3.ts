// An HTTP server that answers as a test says: for what a real S3 server does only on a bad day.

import { readFileSync } from "node:fs";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Secret } from "../../src/base/secret.ts";
import { S3_DEFAULTS, type S3Settings } from "../../src/storage/s3-settings.ts";

export interface ScriptedRequest {
  readonly method: string;
  /** Path behind the bucket, decoded. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Counts from 1. */
  readonly number: number;
}

export type ScriptedAnswer =
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Uint8Array;
      /** Closes the connection after so many bytes of the body. */
      readonly cutAt?: number;
      /** Says nothing more after so many bytes of the body. */
      readonly stallAt?: number;
    }
  /** The connection breaks, or stays silent. */
  | "reset"
  | "silent";

export const SCRIPTED_SECRET = "an-utterly-secret-key";

/** With it the server speaks https, as `localhost`. */
export const TLS = join(import.meta.dirname, "../fixtures/tls");

/** Answers every request by `answer`; `requests` holds what came. Closed with the test. */
export async function scriptedS3(
  t: TestContext,
  answer: (request: ScriptedRequest) => ScriptedAnswer,
  { tls = false }: { readonly tls?: boolean } = {},
): Promise<{ settings: S3Settings; requests: ScriptedRequest[] }> {
  const requests: ScriptedRequest[] = [];
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    readRequest(incoming)
      .then((read) => {
        const request = { ...read, number: requests.length + 1 };
        requests.push(request);
        return reply(answer(request), incoming, outgoing);
      })
      .catch(() => outgoing.destroy()); // the client gave up before its request was whole
  };
  const file = (name: string): Buffer => readFileSync(join(TLS, name));
  const server = tls
    ? createTlsServer({ key: file("server.key"), cert: file("server.pem") }, listener)
    : createServer(listener);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { settings: settingsFor(tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`), requests };
}

/** Settings with short time-outs for an endpoint of a test. */
export function settingsFor(endpoint: string): S3Settings {
  return {
    ...S3_DEFAULTS,
    bucket: "bucket",
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    idleTimeoutMs: 300,
    connectTimeoutMs: 300,
    maxRetries: 2,
    credentials: {
      accessKeyId: new Secret("access"),
      secretAccessKey: new Secret(SCRIPTED_SECRET),
      sessionToken: null,
    },
  };
}

/** An error document of S3. */
export function s3ErrorBody(code: string, message = "no"): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
}

async function readRequest(incoming: IncomingMessage): Promise<Omit<ScriptedRequest, "number">> {
  const url = new URL(incoming.url ?? "/", "http://x");
  const body: Buffer[] = [];
  for await (const piece of incoming) body.push(piece as Buffer);
  return {
    method: incoming.method ?? "",
    key: decodeURIComponent(url.pathname).replace(/^\/bucket\/?/, ""),
    query: url.searchParams,
    headers: incoming.headers as Record<string, string>,
    body: Buffer.concat(body),
  };
}

function reply(answer: ScriptedAnswer, incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (answer === "silent") return;
  if (answer === "reset") {
    incoming.socket.resetAndDestroy();
    return;
  }
  const body = Buffer.from(answer.body ?? "");
  const length = incoming.method === "HEAD" ? {} : { "content-length": String(body.byteLength) };
  outgoing.writeHead(answer.status, { ...length, ...answer.headers });
  const stop = answer.cutAt ?? answer.stallAt;
  if (stop === undefined) {
    outgoing.end(body);
    return;
  }
  outgoing.write(body.subarray(0, stop), () => {
    if (answer.cutAt !== undefined) setTimeout(() => incoming.socket.destroy(), 20);
  });
}
