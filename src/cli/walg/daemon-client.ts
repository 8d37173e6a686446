// `walg-daemon-client SOCKET wal-push %f | wal-fetch %f %p`: asks a daemon. Exit status 74 when the archive has no such file.

import { connect } from "node:net";
import { EXIT, messageOf } from "../../base/errors.ts";
import { type DaemonRequest, encodeRequest, REPLY } from "./daemon-protocol.ts";
import { type Flag, parseDuration, parseFlags } from "./flags.ts";

const FLAGS: readonly Flag[] = [
  { name: "help", kind: "bool", usage: "how it is called" },
  { name: "timeout", kind: "duration", usage: "longest answer (60s)" },
  { name: "connection-timeout", kind: "duration", usage: "longest connect (5s)" },
];

const USAGE =
  "usage: walg-daemon-client SOCKET wal-push NAME | wal-fetch NAME DESTINATION [-timeout 60s] [-connection-timeout 5s]\n";

/** Runs the client; `write` gets error text. Resolves to the exit status. */
export async function runDaemonClient(
  args: readonly string[],
  write: (text: string) => void,
): Promise<number> {
  try {
    // Go's flags have one dash.
    const { values, rest } = parseFlags(
      args.map((arg) => arg.replace(/^-(?=[a-z][a-z-]+)/, "--")),
      FLAGS,
    );
    if (values.has("help")) {
      write(USAGE);
      return EXIT.ok;
    }
    const request = requestOf(rest.slice(1));
    if (rest[0] === undefined || request === null) {
      write(USAGE);
      return EXIT.failure;
    }
    const limit = (name: string, otherwise: number): number =>
      parseDuration(values.get(name) ?? "") ?? otherwise;
    const reply = await ask(rest[0], request, limit("connection-timeout", 5_000), limit("timeout", 60_000));
    if (reply === REPLY.ok) return EXIT.ok;
    if (reply === REPLY.absent) return EXIT.absent;
    write(`the daemon could not do it; its log says why\n`);
    return EXIT.failure;
  } catch (error) {
    write(`${messageOf(error)}\n`);
    return EXIT.failure;
  }
}

function requestOf([command, name, target, ...more]: readonly string[]): DaemonRequest | null {
  if (name === undefined || more.length > 0) return null;
  if (command === "wal-push" && target === undefined) return { kind: "push", name };
  return command === "wal-fetch" && target !== undefined ? { kind: "fetch", name, target } : null;
}

/** Sends one request and gives the byte that comes back. */
function ask(path: string, request: DaemonRequest, connectMs: number, answerMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    let timer = setTimeout(
      () => fail(new Error(`no connection to "${path}" within ${connectMs} ms`)),
      connectMs,
    );
    socket.once("connect", () => {
      clearTimeout(timer);
      timer = setTimeout(() => fail(new Error(`no answer within ${answerMs} ms`)), answerMs);
      socket.write(encodeRequest(request));
    });
    socket.once("data", (bytes: Buffer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(bytes[0]!);
    });
    socket.once("error", (error) => {
      clearTimeout(timer);
      fail(error);
    });
    socket.once("end", () => {
      clearTimeout(timer);
      fail(new Error("the daemon ended the connection without an answer"));
    });
  });
}
