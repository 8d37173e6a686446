// Who counts, and who may be promoted: claims, declarations, ghosts.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Roster,
  claimRoster,
  countedMembers,
  declareRoster,
  isOrphaned,
  parseRoster,
  planRoster,
} from "../../src/cluster/roster.ts";

const roster: Roster = {
  format: 1,
  epoch: 17,
  members: ["n1", "n2", "n3"],
  leader: null,
  inSync: null,
  isPaused: false,
};
const holder = (name: string, volume = "v") => ({ name, volume });
const claimant = { ...holder("n2"), epoch: 34, isOrphaned: false, isContinuing: false };
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
    found: { ...roster, inSync: [holder("n3")] },
    because: "n2 may lack acknowledged commits; in sync: n3",
  },
  { name: "in sync", found: { ...roster, inSync: [holder("n2")] }, because: null },
  {
    name: "nobody is in sync",
    found: { ...roster, inSync: [] },
    because: "n2 may lack acknowledged commits; in sync: nobody",
  },
];
for (const { name, found, because } of claims) {
  test(`claim: ${name}`, () => {
    const claim = claimRoster(found, claimant, ["n2", "n1"]);
    assert.equal(claim.kind === "refused" ? claim.because : null, because);
    if (claim.kind === "write") {
      assert.equal(claim.roster.epoch, 34);
      assert.deepEqual(claim.roster.inSync, found?.inSync ?? null);
    }
  });
}

test("after a promotion nobody is in sync yet", () => {
  assert.deepEqual(declareRoster({ ...roster, inSync: [holder("n2")] }, holder("n2"), true).inSync, []);
  assert.equal(declareRoster(roster, holder("n2"), false).inSync, null);
});

test("a copy that replaced a lost one is another copy", () => {
  const found = { ...roster, leader: holder("n1"), inSync: [holder("n2", "lost")] };
  assert.equal(claimRoster(found, claimant, []).kind, "refused");
  assert.equal(claimRoster(found, { ...claimant, isOrphaned: true }, []).kind, "write");
  assert.equal(isOrphaned(found, [holder("n2")]), false, "n1 may still come");
  assert.equal(isOrphaned(found, [holder("n1"), holder("n2")]), false, "n1 has its volume");
  assert.equal(isOrphaned(found, [holder("n1", "new"), holder("n2")]), true);
});

test("who goes on with its own log needs nobody's word, and is the leader", () => {
  const found = { ...roster, inSync: [holder("n3")] };
  const claim = claimRoster(found, { ...claimant, isContinuing: true }, []);
  assert.deepEqual(claim.kind === "write" && claim.roster, { ...found, epoch: 34, leader: holder("n2") });
});

test("a member that shows up joins; a ghost leaves, also from the record", () => {
  const plan = planRoster(
    { ...roster, inSync: [holder("n3")] },
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
