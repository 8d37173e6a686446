// What a drill checks on the recovered server: catalogues, indexes and heaps by amcheck, pages by their checksums.

import { access } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { runCommand } from "../../base/run-command.ts";
import type { Call } from "../walg/command.ts";
import type { Scratch, ScratchServer } from "./drill-server.ts";

export interface DrillCheck {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or how much was looked at. */
  readonly detail: string;
}

/** Runs all checks; a check that cannot be run is told and is no fault. Stops the server for the last one. */
export async function checkDatabase(
  server: ScratchServer,
  scratch: Scratch,
  isQuick: boolean,
  call: Call,
): Promise<readonly DrillCheck[]> {
  const checks = [await readable(server)];
  if (!isQuick) {
    checks.push(await amcheck(server, scratch, call));
    await server.stop();
    checks.push(await checksums(server, scratch, call));
  }
  return checks;
}

async function readable(server: ScratchServer): Promise<DrillCheck> {
  try {
    const databases = await server.ask("select count(*) from pg_database where datallowconn");
    const relations = await server.ask("select count(*) from pg_class");
    return {
      name: "starts and answers",
      ok: true,
      detail: `${databases} databases, ${relations} relations in the first`,
    };
  } catch (error) {
    return { name: "starts and answers", ok: false, detail: messageOf(error) };
  }
}

async function amcheck(
  server: ScratchServer,
  { programs, user }: Scratch,
  { signal }: Call,
): Promise<DrillCheck> {
  const name = "amcheck";
  const file = join(programs.bin, "pg_amcheck");
  if (!(await exists(file))) return { name, ok: true, detail: "not run: pg_amcheck is not installed" };
  const { host, port, user: role } = server.address;
  const args = [
    "--all",
    "--install-missing",
    "--heapallindexed",
    "--no-password",
    `--host=${host}`,
    `--port=${port}`,
    `--username=${role}`,
  ];
  const { exitCode, stdout, stderr } = await runCommand(file, args, { ...user, signal });
  if (exitCode === 0) return { name, ok: true, detail: "" };
  const said = `${stdout}\n${stderr}`.trim().split("\n");
  const isMissing = /could not (?:open extension control file|access file)|is not available/.test(stderr);
  return {
    name,
    ok: isMissing,
    detail: isMissing ? "not run: the extension amcheck is not installed" : said.slice(0, 5).join(" | "),
  };
}

async function checksums(
  server: ScratchServer,
  { programs, user, dataDirectory }: Scratch,
  { signal }: Call,
): Promise<DrillCheck> {
  const name = "page checksums";
  if (server.control.checksumVersion === 0)
    return { name, ok: true, detail: "not run: the cluster has none" };
  const file = join(programs.bin, "pg_checksums");
  const { exitCode, stdout, stderr } = await runCommand(file, ["--check", `--pgdata=${dataDirectory}`], {
    ...user,
    signal,
  });
  const blocks = /Blocks scanned:\s+(\d+)/.exec(stdout)?.[1] ?? "?";
  return exitCode === 0
    ? { name, ok: true, detail: `${blocks} blocks` }
    : { name, ok: false, detail: `${stderr}${stdout}`.trim().split("\n").slice(0, 5).join(" | ") };
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
