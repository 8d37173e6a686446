// A host that answers no packet, on the loopback: a listener that is stopped and whose queue is full drops every SYN that comes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const LISTENER =
  'const s = require("node:net").createServer(); s.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(s.address().port));';
/** The kernel takes one or two more than the backlog says. */
const FILLERS_MOST = 16;

export interface SilentHost extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

/** Connections to it hang until it is disposed of. */
export async function silentHost(): Promise<SilentHost> {
  const child = spawn(process.execPath, ["-e", LISTENER], { stdio: ["ignore", "pipe", "inherit"] });
  const sockets: Socket[] = [];
  const end = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  try {
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const port = Number(line.toString());
    child.kill("SIGSTOP");
    for (let filler = 0; filler < FILLERS_MOST; filler += 1) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      sockets.push(socket);
      const connected = once(socket, "connect").then(
        () => true,
        () => true,
      );
      if (!(await Promise.race([connected, delay(500, false)])))
        return { host: "127.0.0.1", port, [Symbol.asyncDispose]: end };
    }
    throw new Error(`${FILLERS_MOST} connections were taken by a listener that is stopped`);
  } catch (error) {
    await end();
    throw error;
  }
}
