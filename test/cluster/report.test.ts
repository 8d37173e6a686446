// The cluster's one message, there and back; and who is granted a licence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { mayGrant } from "../../src/cluster/grants.ts";
import type { GrantFacts } from "../../src/cluster/mind-types.ts";
import { type Report, formatReport, parseReport } from "../../src/cluster/report.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const report: Report = {
  name: "n1",
  region: "fra",
  priority: 100,
  eligible: true,
  incarnation: "5f",
  build: "17.1",
  upSeconds: 12.5,
  systemId: "7654321098765432109",
  volume: "v",
  standing: "primary",
  accepting: true,
  epoch: 34,
  timeline: 3,
  recordEnd: parseLsn("1/ABCDEF00"),
  replayed: parseLsn("1/ABCDEF00"),
  durable: null,
  streaming: false,
  primary: { name: "n1", heardAgoMs: 20 },
  gateForMs: null,
  storeAgoMs: 80,
  freeBytes: 5_000,
};

test("a report survives the wire", () => {
  assert.deepEqual(parseReport(formatReport(report)), report);
  const bare = { ...report, systemId: null, epoch: null, primary: null, storeAgoMs: null };
  assert.deepEqual(parseReport(formatReport(bare)), bare);
});

test("anything else is no report", () => {
  for (const text of [
    "",
    "hello",
    "[]",
    "{}",
    '{"name":"n1"}',
    formatReport(report).replace("primary", "king"),
  ])
    assert.equal(parseReport(text), null);
});

const asker = { name: "n1", standing: "primary", epoch: 34 } as const;
const base: GrantFacts = { standing: "standby", runsGate: false, asker, known: { name: "n1", epoch: 34 } };
const grants: readonly { name: string; facts: Partial<GrantFacts>; may: boolean }[] = [
  { name: "a standby to its primary", facts: {}, may: true },
  { name: "while it runs the gate", facts: { runsGate: true }, may: false },
  { name: "a primary to nobody", facts: { standing: "primary" }, may: false },
  { name: "to a standby", facts: { asker: { ...asker, standing: "standby" } }, may: false },
  { name: "to one that was outranked", facts: { known: { name: "n3", epoch: 51 } }, may: false },
  { name: "to one with a newer fence", facts: { known: { name: "n3", epoch: 17 } }, may: true },
];
for (const { name, facts, may } of grants)
  test(`grant: ${name}`, () => assert.equal(mayGrant({ ...base, ...facts }), may));
