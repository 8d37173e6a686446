// psql on a server that only has a folder, a port and a user.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { postgresBin, type ProgramUser } from "./scratch-postgres.ts";

const run = promisify(execFile);

/** Runs SQL with `-qAt`; what it printed without the last newline. Throws on an SQL error. */
export async function psql(
  { root, port, user }: { readonly root: string; readonly port: number; readonly user: ProgramUser },
  sql: string,
  database = "postgres",
): Promise<string> {
  const { stdout } = await run(
    join(postgresBin(), "psql"),
    ["-XqAt", "--set=ON_ERROR_STOP=1", `--dbname=${database}`, `--command=${sql}`],
    {
      ...user,
      cwd: root,
      maxBuffer: 64 << 20,
      env: {
        PATH: "/usr/bin:/bin",
        LANG: "C.UTF-8",
        TZ: "UTC",
        PGHOST: root,
        PGPORT: String(port),
        PGUSER: "postgres",
      },
    },
  );
  return stdout.replace(/\n$/, "");
}
