// pg_rewind: turns an old primary back to where the new one forked. It compares timelines, not bytes: G8 decides whether it may be asked.

import { join } from "node:path";
import { AppError } from "../base/errors.ts";
import { runCommand } from "../base/run-command.ts";
import { conninfoValue } from "./config-files.ts";
import type { OsUser } from "./os-user.ts";

export interface RewindPlan {
  readonly bin: string;
  /** A stopped server's. */
  readonly dataDirectory: string;
  /** The main configuration file: it names restore_command, by which missing WAL is fetched (`-c`). */
  readonly configFile: string;
  readonly source: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly passfile: string;
  };
  readonly user: OsUser | null;
  /** For restore_command: `HOLDFAST_SOCKET`. */
  readonly env?: Readonly<Record<string, string>>;
}

export type RewindOutcome =
  | { readonly kind: "rewound"; readonly output: string }
  /** pg_rewind saw no divergence. It proves nothing about the bytes (X19, X20). */
  | { readonly kind: "not-needed"; readonly output: string };

/** Runs pg_rewind; without a deadline, killable by the signal. The caller has set the mark `rewind` before. Throws RewindError. */
export async function rewind(plan: RewindPlan, signal: AbortSignal): Promise<RewindOutcome> {
  const { host, port, user, passfile } = plan.source;
  const source = Object.entries({
    host,
    port: String(port),
    user,
    passfile,
    dbname: "postgres",
    connect_timeout: "5",
    application_name: "holdfast-rewind",
  })
    .map(([key, value]) => `${key}=${conninfoValue(value)}`)
    .join(" ");
  const result = await runCommand(
    join(plan.bin, "pg_rewind"),
    [
      `--target-pgdata=${plan.dataDirectory}`,
      `--source-server=${source}`,
      `--config-file=${plan.configFile}`,
      "--restore-target-wal",
    ],
    {
      ...plan.user,
      ...(plan.env === undefined ? {} : { env: plan.env }),
      cwd: plan.dataDirectory,
      signal,
    },
  );
  const output = `${result.stdout}\n${result.stderr}`.trim();
  if (result.exitCode !== 0) {
    const how = result.exitCode === null ? `signal ${result.signal}` : `status ${result.exitCode}`;
    throw new RewindError(`pg_rewind ended with ${how}: ${output.split("\n").slice(-3).join(" | ")}`);
  }
  return { kind: /no rewind required/i.test(output) ? "not-needed" : "rewound", output };
}

export class RewindError extends AppError {
  constructor(message: string) {
    super(message, { code: "REWIND_FAILED", hint: "the node can be filled again from the store instead" });
  }
}
