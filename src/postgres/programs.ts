// Where Postgres's programs are, which version, and what libraries they can load.

import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "../base/errors.ts";
import { mustRun } from "../base/run-command.ts";

export interface Programs {
  /** The folder of `postgres`, `initdb`, `pg_rewind` … */
  readonly bin: string;
  /** 15, 17, 18 … */
  readonly major: number;
  /** As the program prints it: `17.12 (Debian …)`. */
  readonly version: string;
}

/** The programs in `bin`, or the newest that are installed. Throws when there are none. */
export async function findPrograms(
  bin: string | null,
  root: string = "/usr/lib/postgresql",
): Promise<Programs> {
  const folder = bin ?? (await newestBin(root));
  const { stdout } = await mustRun(join(folder, "postgres"), ["--version"]);
  const match = /\(PostgreSQL\) ((\d+)\S*.*)$/.exec(stdout.trim());
  if (match === null)
    throw new ProgramsError(`"${join(folder, "postgres")} --version" answered "${stdout.trim()}"`);
  return { bin: folder, major: Number(match[2]), version: match[1]! };
}

/** Those of `wanted` that can be loaded: a machine without the package must start all the same. */
export async function loadableLibraries(bin: string, wanted: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await mustRun(join(bin, "pg_config"), ["--pkglibdir"]).catch(() => ({
    stdout: join(bin, "..", "lib"),
  }));
  const found: string[] = [];
  for (const name of wanted) {
    const there = await access(join(stdout.trim(), `${name}.so`)).then(
      () => true,
      () => false,
    );
    if (there) found.push(name);
  }
  return found;
}

class ProgramsError extends AppError {
  constructor(message: string) {
    super(message, { code: "NO_POSTGRES", hint: "install the Debian package postgresql, or set PG_BIN" });
  }
}

async function newestBin(root: string): Promise<string> {
  const majors = (await readdir(root).catch(() => [])).map(Number).filter(Number.isInteger);
  for (const major of majors.sort((a, b) => b - a)) {
    const bin = join(root, String(major), "bin");
    const there = await access(join(bin, "postgres")).then(
      () => true,
      () => false,
    );
    if (there) return bin;
  }
  throw new ProgramsError(`no Postgres programs in ${root}`);
}
