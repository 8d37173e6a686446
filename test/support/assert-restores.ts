// A backup is worth what a restore of it gives: the rows, and pages whose checksums are right.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { BackupReader } from "../../src/backup/catalog.ts";
import { dump, fetch, type Sealing } from "./backup-source.ts";
import { scratchFolder } from "./scratch-postgres.ts";
import { recoverTo } from "./walg-restore.ts";

/** Fetches `name`, replays the whole archive, and compares with the source's dump. */
export async function assertRestores(
  store: BackupReader,
  name: string,
  {
    sealing,
    archive,
    truth,
  }: { readonly sealing: Sealing; readonly archive: string; readonly truth: string },
): Promise<void> {
  await using work = await scratchFolder("restored");
  const directory = join(work.path, "data");
  await fetch(store, name, directory, sealing);
  await using restored = await recoverTo(
    { what: "latest", value: null, timeline: "latest" },
    directory,
    archive,
  );
  assert.equal(await dump(restored), truth, `the dump of ${name}`);
  await restored.stop();
  await restored.run("pg_checksums", ["--check", `--pgdata=${directory}`]);
}
