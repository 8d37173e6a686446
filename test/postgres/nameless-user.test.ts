import assert from "node:assert/strict";
import { test } from "node:test";
import { hasName, lentName } from "../../src/postgres/nameless-user.ts";

const PASSWD = "root:x:0:0:root:/root:/bin/bash\npostgres:x:100:101::/var/lib/postgresql:/bin/bash\n";

test("nameless: a number is a user's when the third field says so", () => {
  assert.equal(hasName(PASSWD, 100), true);
  assert.equal(hasName(PASSWD, 101), false);
  assert.equal(hasName(PASSWD, 10), false);
});

test("nameless: who has a name is lent none", async () => {
  assert.deepEqual(await lentName(0, 0), {});
});
