// Who counts, and who may be promoted: claims, declarations, ghosts.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Roster,
  claimRoster,
  countedMembers,
  declareRoster,
  parseRoster,
  planRoster,
} from "../../src/cluster/roster.ts";

const roster: Roster = { format: 1, epoch: 17, members: ["n1", "n2", "n3"], inSync: null };
const limits = { forgetMs: 60_000, upMs: 300_000 };
const seen = (name: string, heardAgoMs: number | null = 0, isMember = true) => ({
  name,
  heardAgoMs,
  isMember,
});

const claims: readonly { name: string; found: Roster | null; because: string | null }[] = [
  { name: "a member claims", found: roster, because: null },
  { name: "no roster yet: the configured members", found: null, because: null },
  {
    name: "a newer fence was first",
    found: { ...roster, epoch: 40 },
    because: "fence 40 claimed the roster, newer than 34",
  },
  {
    name: "a ghost that was forgotten",
    found: { ...roster, members: ["n1"] },
    because: "n2 is not in the roster: n1",
  },
  {
    name: "not in sync",
    found: { ...roster, inSync: ["n3"] },
    because: "n2 may lack acknowledged commits; in sync: n3",
  },
  { name: "in sync", found: { ...roster, inSync: ["n2"] }, because: null },
  {
    name: "nobody is in sync",
    found: { ...roster, inSync: [] },
    because: "n2 may lack acknowledged commits; in sync: nobody",
  },
];
for (const { name, found, because } of claims) {
  test(`claim: ${name}`, () => {
    const claim = claimRoster(found, 34, "n2", ["n2", "n1"]);
    assert.equal(claim.kind === "refused" ? claim.because : null, because);
    if (claim.kind === "write") {
      assert.equal(claim.roster.epoch, 34);
      assert.deepEqual(claim.roster.inSync, found?.inSync ?? null);
    }
  });
}

test("after a promotion nobody is in sync yet", () => {
  assert.deepEqual(declareRoster({ ...roster, inSync: ["n2"] }, true).inSync, []);
  assert.equal(declareRoster(roster, false).inSync, null);
});

test("a member that shows up joins; a ghost leaves, also from the record", () => {
  const plan = planRoster(
    { ...roster, inSync: ["n3"] },
    "n1",
    [seen("n2"), seen("n3", 61_000, false), seen("n4")],
    limits,
  );
  assert.deepEqual(plan, {
    roster: { ...roster, members: ["n1", "n2", "n4"], inSync: [] },
    because: "n4 joined, n3 was not heard for 60 s",
  });
});

test("who was never heard is forgotten only after this node was up for as long", () => {
  assert.equal(
    planRoster(roster, "n1", [seen("n2"), seen("n3", null, false)], { ...limits, upMs: 59_000 }),
    null,
  );
  const plan = planRoster(roster, "n1", [seen("n2"), seen("n3", null, false)], limits);
  assert.deepEqual(plan?.roster.members, ["n1", "n2"]);
});

test("while a change is under way everybody counts who might be promoted", () => {
  assert.deepEqual(countedMembers(roster, { ...roster, members: ["n1", "n2", "n4"] }, "n1"), [
    "n2",
    "n3",
    "n4",
  ]);
});

test("only a whole roster is one", () => {
  assert.deepEqual(parseRoster(JSON.stringify(roster)), roster);
  for (const text of ["", "{}", '{"format":2}', '{"format":1,"epoch":1,"members":[1],"inSync":null}'])
    assert.equal(parseRoster(text), null);
});
