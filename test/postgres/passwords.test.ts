// Passwords: given, derived, generated; and the verifiers made of them.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Secret } from "../../src/base/secret.ts";
import { completePasswords, derivedPassword } from "../../src/postgres/passwords.ts";
import { matchesVerifier, scramVerifier } from "../../src/postgres/scram.ts";

const NONE = { superuserPassword: null, operatorPassword: null, replicationPassword: null };

test("a generated password is kept for nobody else to read, and is the same ever after", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-passwords-"));
  try {
    const marks = join(folder, "holdfast");
    const first = await completePasswords(NONE, marks);
    const second = await completePasswords(NONE, marks);
    assert.equal(first.superuser.reveal(), second.superuser.reveal());
    assert.match(first.superuser.reveal(), /^[A-Za-z0-9_-]{32}$/);
    assert.equal(first.generatedPath, join(marks, "superuser-password"));
    assert.equal((await readFile(first.generatedPath, "utf8")).trim(), first.superuser.reveal());
    assert.equal((await stat(first.generatedPath)).mode & 0o777, 0o600);
    assert.equal(first.operator, null);
    assert.notEqual(first.replication.reveal(), first.superuser.reveal());
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("what is given is taken, and nothing is written", async () => {
  const passwords = await completePasswords(
    {
      superuserPassword: new Secret("su"),
      operatorPassword: new Secret("op"),
      replicationPassword: new Secret("re"),
    },
    "/nowhere",
  );
  assert.deepEqual(
    [
      passwords.superuser.reveal(),
      passwords.operator?.reveal(),
      passwords.replication.reveal(),
      passwords.generatedPath,
    ],
    ["su", "op", "re", null],
  );
});

test("a derived password is the same on every node and differs by purpose", () => {
  assert.equal(
    derivedPassword(new Secret("a"), "x").reveal(),
    derivedPassword(new Secret("a"), "x").reveal(),
  );
  assert.notEqual(
    derivedPassword(new Secret("a"), "x").reveal(),
    derivedPassword(new Secret("a"), "y").reveal(),
  );
  assert.notEqual(
    derivedPassword(new Secret("a"), "x").reveal(),
    derivedPassword(new Secret("b"), "x").reveal(),
  );
});

test("the verifier of RFC 7677's example, and of no other password", async () => {
  // RFC 7677 section 3: user "user", password "pencil", this salt, 4096 rounds. The keys are what Postgres stores for it.
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  const verifier = await scramVerifier(new Secret("pencil"), salt);
  assert.equal(
    verifier,
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
  );
  assert.equal(await matchesVerifier(new Secret("pencil"), verifier), true);
  assert.equal(await matchesVerifier(new Secret("Pencil"), verifier), false);
  assert.equal(await matchesVerifier(new Secret("pencil"), ""), false);
  assert.equal(await matchesVerifier(new Secret("pencil"), "md5a6343a68d964ca596d9752250d54bb8a"), false);
});

test("spaces, soft hyphens and compatibility forms count as RFC 4013 says", async () => {
  const salt = Buffer.alloc(16, 7);
  const same = async (a: string, b: string): Promise<void> =>
    assert.equal(
      await scramVerifier(new Secret(a), salt),
      await scramVerifier(new Secret(b), salt),
      JSON.stringify([a, b]),
    );
  await same("I\u00adX", "IX");
  await same("\u00aa", "a");
  await same("\u2168", "IX");
  await same("a\u00a0b", "a b");
});
