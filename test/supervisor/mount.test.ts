import assert from "node:assert/strict";
import { test } from "node:test";
import { holdsMount, isOnMount } from "../../src/supervisor/mount.ts";

const LINES = [
  "651 650 0:52 / / rw,relatime - overlay overlay rw,lowerdir=/x",
  "652 651 0:55 / /proc rw - proc proc rw",
  "660 651 254:1 /var/lib/docker/volumes/v/_data /data rw,relatime - ext4 /dev/vda rw",
  String.raw`661 651 254:1 /y /with\040blank rw - ext4 /dev/vda rw`,
].join("\n");

for (const [path, expected] of [
  ["/data", true],
  ["/data/pgdata", true],
  ["/database", false],
  ["/var/lib", false],
  ["/with blank/x", true],
] as const)
  test(`mount: "${path}" ${expected ? "is" : "is not"} on a mount`, () =>
    assert.equal(holdsMount(LINES, path), expected));

test("mount: a system that does not tell is not guessed at", async () => {
  assert.equal(await isOnMount("/data", "/no/such/file"), null);
});
