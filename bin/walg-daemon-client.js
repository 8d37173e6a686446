#!/usr/bin/env node
import { runScript } from "./run.js";

await runScript(async () => {
  const { runDaemonClient } = await import("../src/cli/walg/daemon-client.ts");
  return runDaemonClient(process.argv.slice(2), (text) => process.stderr.write(text));
});
