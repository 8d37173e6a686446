// The reserve is there once, takes real room, and goes at once.

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { keepReserve, releaseReserve, RESERVE_BYTES } from "../../src/supervisor/reserve.ts";

test("a reserve is made, kept and released", async (t) => {
  const marks = await mkdtemp(join(tmpdir(), "hf-reserve-"));
  t.after(() => rm(marks, { recursive: true, force: true }));
  await keepReserve({ marks });
  const [name = ""] = await readdir(marks);
  const { size, blocks, mtimeMs } = await stat(join(marks, name));
  assert.equal(size, RESERVE_BYTES);
  assert.ok(blocks * 512 >= RESERVE_BYTES, "it is no sparse file");
  await keepReserve({ marks });
  assert.equal((await stat(join(marks, name))).mtimeMs, mtimeMs, "it is not written again");
  await releaseReserve({ marks });
  await releaseReserve({ marks });
  assert.deepEqual(await readdir(marks), []);
});
