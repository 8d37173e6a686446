// Starts the TypeScript sources. An older Node than 24 cannot run them: then the one from node_modules takes over.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as module from "node:module";
import { fileURLToPath } from "node:url";

const MAJOR_LEAST = 24;

/** Runs the program under this name with the process's arguments and sets the exit status. */
export async function run(program) {
  await runScript(async () => {
    const { main } = await import("../src/cli/main.ts");
    return main(program, process.argv.slice(2));
  });
}

/** Runs `script`, which resolves to the exit status, on a Node that can. */
export async function runScript(script) {
  if (Number(process.versions.node.split(".")[0]) < MAJOR_LEAST) return runNewerNode();
  module.enableCompileCache?.();
  process.exitCode = await script();
}

async function runNewerNode() {
  const node = fileURLToPath(new URL("../node_modules/node/bin/node", import.meta.url));
  if (!existsSync(node)) {
    process.stderr.write(`Holdfast needs Node ${MAJOR_LEAST} or newer; this is ${process.version}\n`);
    process.exitCode = 2;
    return;
  }
  const child = spawn(node, process.argv.slice(1), { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  await new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      process.exitCode = code ?? (signal === "SIGINT" ? 130 : 1);
      resolve(undefined);
    });
  });
}
