// Names, who belongs, and who may lead.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  flyMember,
  isEligible,
  memberSlotName,
  nodeIdOf,
  parseFlyMachines,
  parseNodes,
} from "../../src/cluster/members.ts";

test("NODES are names, or name=host", () => {
  assert.deepEqual(parseNodes("n1, n2 n3=db3.example", "n2"), [
    { name: "n1", host: "n1" },
    { name: "n2", host: "n2" },
    { name: "n3", host: "db3.example" },
  ]);
});

test("this node's own name must be among them, each once, each plain", () => {
  assert.throws(() => parseNodes("n1,n2", "n3"), {
    message: 'this node is called "n3" and NODES is "n1,n2"',
  });
  assert.throws(() => parseNodes("n1,n1", "n1"), { message: 'NODES names a member twice: "n1,n1"' });
  assert.throws(() => parseNodes("n1,n$(x)", "n1"), { message: `"n$(x)" cannot be a node's name` });
});

test("a Fly machine is known by its id, whatever its address", () => {
  assert.deepEqual(flyMember("3d8d9014b32d89", "my-db"), {
    name: "3d8d9014b32d89",
    host: "3d8d9014b32d89.vm.my-db.internal",
  });
  assert.deepEqual(parseFlyMachines(["3d8d9014b32d89 fra,", "91852e6c42d178 ams"]), [
    { id: "3d8d9014b32d89", region: "fra" },
    { id: "91852e6c42d178", region: "ams" },
  ]);
  assert.deepEqual(parseFlyMachines([""]), []);
});

const rule = { primaryRegion: "fra", anyRegion: false };
const cases = [
  { name: "the primary region", region: "fra", priority: 100, rule, may: true },
  { name: "another region", region: "ams", priority: 100, rule, may: false },
  {
    name: "another region, allowed",
    region: "ams",
    priority: 100,
    rule: { ...rule, anyRegion: true },
    may: true,
  },
  {
    name: "no region is set",
    region: "",
    priority: 100,
    rule: { primaryRegion: null, anyRegion: false },
    may: true,
  },
  { name: "priority 0", region: "fra", priority: 0, rule, may: false },
];
for (const { name, region, priority, rule: by, may } of cases)
  test(`may lead: ${name}`, () => assert.equal(isEligible(region, priority, by), may));

test("ids and slots depend on the name alone, and fit", () => {
  assert.equal(nodeIdOf("n1"), nodeIdOf("n1"));
  assert.notEqual(memberSlotName("a-b"), memberSlotName("a_b"));
  for (const name of ["n1", "3d8d9014b32d89", "x".repeat(54)]) {
    assert.ok(nodeIdOf(name) >= 1 && nodeIdOf(name) < 2 ** 31);
    assert.match(memberSlotName(name), /^[a-z0-9_]{1,63}$/);
  }
});
