// How a node comes back: follow, rewind, or re-seed (G8, G9).

import assert from "node:assert/strict";
import { test } from "node:test";
import { type PathPart, type RejoinFacts, decideRejoin } from "../../src/cluster/rejoin.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const at = parseLsn;
const part = (timeline: number, begin: string, promotion: string | null): PathPart => ({
  timeline,
  begin: at(begin),
  promotion,
});
const ONE = part(1, "0/0", null);
const TWO = part(2, "0/500", "aa");

const base: RejoinFacts = {
  localSystemId: "1",
  systemId: "1",
  local: [ONE],
  accepted: [ONE, TWO],
  recordEnd: at("0/600"),
  acceptedEnd: at("0/900"),
  bytes: "equal",
  hasSource: true,
  isWhole: true,
};

const cases: readonly { name: string; facts: Partial<RejoinFacts>; kind: string }[] = [
  { name: "the old primary went past the fork", facts: {}, kind: "rewind" },
  { name: "it ends at the fork", facts: { recordEnd: at("0/500") }, kind: "follow" },
  { name: "it ends below the fork", facts: { recordEnd: at("0/400") }, kind: "follow" },
  { name: "its bytes below the fork differ (X20)", facts: { bytes: "different" }, kind: "re-seed" },
  { name: "its bytes were not compared yet", facts: { bytes: "unknown" }, kind: "wait" },
  { name: "no primary to rewind from", facts: { hasSource: false }, kind: "wait" },
  {
    name: "WAL files are missing: where it ends is not known",
    facts: { isWhole: false, recordEnd: at("0/400") },
    kind: "re-seed",
  },
  {
    name: "the same timeline by another promotion (X11, X19)",
    facts: { local: [ONE, part(2, "0/500", "bb")] },
    kind: "re-seed",
  },
  {
    name: "its own timeline, never accepted",
    facts: { local: [ONE, part(3, "0/480", "cc")] },
    kind: "rewind",
  },
  { name: "the accepted path itself, and not ahead", facts: { local: [ONE, TWO] }, kind: "follow" },
  {
    name: "ahead on the same timeline (G9)",
    facts: { local: [ONE, TWO], recordEnd: at("0/A00") },
    kind: "re-seed",
  },
  { name: "other first timelines", facts: { local: [part(1, "0/100", null)] }, kind: "re-seed" },
  { name: "another cluster", facts: { localSystemId: "2" }, kind: "refuse" },
];

for (const { name, facts, kind } of cases)
  test(`rejoin: ${name}`, () => assert.equal(decideRejoin({ ...base, ...facts }).kind, kind));

test("the diverged range is named", () => {
  const rejoin = decideRejoin(base);
  assert.deepEqual(rejoin.kind === "rewind" && rejoin.diverged, { from: at("0/500"), to: at("0/600") });
  assert.equal(rejoin.because, "its WAL left the accepted history at 0/500");
});
