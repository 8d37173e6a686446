// The table of design section 5, row by row, and what must hold for every combination of facts.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type AskedRestore,
  type BootFacts,
  decideBoot,
  type StoreFacts,
  type VolumeFacts,
} from "../../src/supervisor/boot-decision.ts";

const SYSTEM = "7443118811117711";
const alone = { primary: null, allSeen: true, mayFound: true };
const led = { primary: "n2", allSeen: true, mayFound: true };
const partly = { primary: null, allSeen: false, mayFound: true };
const joiner = { primary: null, allSeen: true, mayFound: false };

const empty: VolumeFacts = { kind: "empty" };
const primary: VolumeFacts = { kind: "primary", systemId: SYSTEM, timeline: 1, recoverySignal: false };
const standby: VolumeFacts = { kind: "standby", systemId: SYSTEM, timeline: 1 };
const fetched: VolumeFacts = {
  kind: "by-hand",
  systemId: SYSTEM,
  hasBackupLabel: true,
  recoverySignal: true,
};

const nothing: StoreFacts = { kind: "empty" };
const ours: StoreFacts = { kind: "cluster", systemId: SYSTEM };
const foreign: StoreFacts = { kind: "cluster", systemId: "1" };
const silent: StoreFacts = { kind: "unknown", because: "connection refused" };
const forbidden: StoreFacts = { kind: "refused", because: "403 AccessDenied" };
const sealed: StoreFacts = { kind: "undecryptable", because: "wrong key" };
const damaged: StoreFacts = { kind: "damaged", because: "slot 7 is missing" };
const claimed: StoreFacts = { kind: "unfinished-founding", systemId: SYSTEM, outcome: null };
const admitted: StoreFacts = { kind: "unfinished-founding", systemId: SYSTEM, outcome: "admitted" };
const givenUp: StoreFacts = { kind: "unfinished-founding", systemId: SYSTEM, outcome: "given-up" };

const request: AskedRestore = { id: "r1", from: "command", otherPrefix: false, target: "time T" };
const other: AskedRestore = { id: "r2", from: "environment", otherPrefix: true, target: "the end" };

const facts = (change: Partial<BootFacts>): BootFacts => ({
  releaseCommand: false,
  volume: empty,
  store: nothing,
  members: alone,
  restore: null,
  mayGiveUp: false,
  ...change,
});

const cases: readonly { name: string; given: Partial<BootFacts>; kind: string; because: RegExp }[] = [
  { name: "nothing anywhere: found", given: {}, kind: "found", because: /proved the store's prefix empty/ },
  {
    name: "a release command does nothing",
    given: { releaseCommand: true, store: ours },
    kind: "idle",
    because: /release command/,
  },
  {
    name: "an interrupted initdb is cleared",
    given: { volume: { kind: "unfinished", work: "initdb" } },
    kind: "clear",
    because: /an initdb was interrupted/,
  },
  {
    name: "an interrupted seed is cleared though the store is away",
    given: { volume: { kind: "unfinished", work: "seed" }, store: silent },
    kind: "clear",
    because: /a seed/,
  },
  {
    name: "another major version is refused",
    given: { volume: { kind: "wrong-version", found: "15", expected: "17" } },
    kind: "refuse",
    because: /Postgres 15 and this image runs 17/,
  },
  {
    name: "half a directory is refused",
    given: { volume: { kind: "foreign", because: "no pg_control" } },
    kind: "refuse",
    because: /no pg_control/,
  },
  { name: "a joiner does not found", given: { members: joiner }, kind: "wait", because: /may not found/ },
  {
    name: "nobody founds while a member is unheard",
    given: { members: partly },
    kind: "wait",
    because: /not every member was heard/,
  },
  {
    name: "a primary over an empty prefix is suspicious",
    given: { members: led },
    kind: "wait",
    because: /right prefix/,
  },
  {
    name: "an empty volume joins a living primary",
    given: { members: led, store: ours },
    kind: "join",
    because: /n2 leads/,
  },
  {
    name: "an empty volume joins a living primary with the store away",
    given: { members: led, store: silent },
    kind: "join",
    because: /n2 leads/,
  },
  {
    name: "an empty volume and an archive: restore",
    given: { store: ours },
    kind: "restore-latest",
    because: /no primary lives/,
  },
  {
    name: "no restore while a member is unheard",
    given: { store: ours, members: partly },
    kind: "wait",
    because: /not every member/,
  },
  {
    name: "no initdb when the store is silent",
    given: { store: silent },
    kind: "wait",
    because: /does not answer: connection refused/,
  },
  {
    name: "no initdb when the store refuses",
    given: { store: forbidden },
    kind: "wait",
    because: /refuses: 403/,
  },
  {
    name: "no initdb with the wrong key",
    given: { store: sealed },
    kind: "wait",
    because: /cannot be read with this key/,
  },
  { name: "no initdb over damage", given: { store: damaged }, kind: "wait", because: /damaged: slot 7/ },
  {
    name: "no initdb over another's founding",
    given: { store: claimed },
    kind: "wait",
    because: /claimed the prefix/,
  },
  {
    name: "a lone node founds in the place of a founding that never admitted a client",
    given: { store: claimed, mayGiveUp: true },
    kind: "found",
    because: /without ever admitting a client/,
  },
  {
    name: "a founding that was given up already is succeeded too",
    given: { store: givenUp, mayGiveUp: true },
    kind: "found",
    because: /without ever admitting a client/,
  },
  {
    name: "no initdb where clients were admitted and every backup was deleted",
    given: { store: admitted, mayGiveUp: true },
    kind: "wait",
    because: /none of system \d+'s base backups is left/,
  },
  {
    name: "the successor's volume contends before its claim",
    given: { volume: { ...primary, systemId: "5", succeeds: SYSTEM }, store: givenUp },
    kind: "contend",
    because: /log decides/,
  },
  {
    name: "another system's volume does not contend for a given-up prefix",
    given: { volume: { ...primary, systemId: "5", succeeds: null }, store: givenUp },
    kind: "refuse",
    because: /belongs to system identifier/,
  },
  {
    name: "the successor's volume is refused once a third one claimed the prefix",
    given: { volume: { ...primary, systemId: "5", succeeds: "6" }, store: givenUp },
    kind: "refuse",
    because: /belongs to system identifier/,
  },
  {
    name: "the volume whose founding was given up is refused",
    given: { volume: primary, store: givenUp },
    kind: "refuse",
    because: /given up by another node/,
  },
  {
    name: "a primary's volume contends",
    given: { volume: primary, store: ours },
    kind: "contend",
    because: /log decides/,
  },
  {
    name: "a primary's volume goes on over its own founding",
    given: { volume: primary, store: claimed },
    kind: "contend",
    because: /log decides/,
  },
  {
    name: "a primary's volume over an emptied prefix contends",
    given: { volume: primary, store: nothing },
    kind: "contend",
    because: /log decides/,
  },
  {
    name: "a lone primary starts with the store away",
    given: { volume: primary, store: silent },
    kind: "contend",
    because: /no member is out of sight/,
  },
  {
    name: "G7: not with a member out of sight",
    given: { volume: primary, store: silent, members: partly },
    kind: "wait",
    because: /not every member was heard/,
  },
  {
    name: "a primary's volume with the wrong key waits",
    given: { volume: primary, store: sealed },
    kind: "wait",
    because: /cannot be read/,
  },
  {
    name: "a foreign store is refused",
    given: { volume: primary, store: foreign },
    kind: "refuse",
    because: /belongs to system identifier 1 and the volume to 7443118811117711/,
  },
  {
    name: "a foreign store is refused by a standby too",
    given: { volume: standby, store: foreign },
    kind: "refuse",
    because: /belongs to system identifier 1/,
  },
  {
    name: "an old primary follows the new one",
    given: { volume: primary, store: ours, members: led },
    kind: "follow",
    because: /n2 leads/,
  },
  {
    name: "a standby follows",
    given: { volume: standby, store: ours },
    kind: "follow",
    because: /holds a standby/,
  },
  {
    name: "recovery.signal by hand replays",
    given: { volume: { ...primary, recoverySignal: true }, store: ours },
    kind: "replay",
    because: /recovery.signal/,
  },
  {
    name: "recovery.signal waits for the store",
    given: { volume: { ...primary, recoverySignal: true }, store: silent },
    kind: "wait",
    because: /recovery.signal/,
  },
  {
    name: "a backup fetched by hand replays",
    given: { volume: fetched, store: ours },
    kind: "replay",
    because: /recovery.signal/,
  },
  {
    name: "a backup fetched by hand without a signal replays too",
    given: { volume: { ...fetched, recoverySignal: false }, store: ours },
    kind: "replay",
    because: /never recovered/,
  },
  {
    name: "a copied data directory contends",
    given: { volume: { ...fetched, recoverySignal: false, hasBackupLabel: false }, store: nothing },
    kind: "contend",
    because: /log decides/,
  },
  {
    name: "a restore by command keeps the data aside and restores",
    given: { volume: primary, store: ours, restore: request },
    kind: "restore-asked",
    because: /asked for by command/,
  },
  {
    name: "a restore onto an empty volume",
    given: { store: ours, restore: request },
    kind: "restore-asked",
    because: /time T/,
  },
  {
    name: "a restore waits for the store",
    given: { store: silent, restore: request },
    kind: "wait",
    because: /cannot be read/,
  },
  {
    name: "a restore of nothing is refused",
    given: { restore: request },
    kind: "refuse",
    because: /prefix is empty/,
  },
  {
    name: "a restore without a backup is refused",
    given: { store: claimed, restore: request },
    kind: "refuse",
    because: /no backup/,
  },
  {
    name: "a new cluster from another prefix",
    given: { restore: other },
    kind: "restore-asked",
    because: /the end/,
  },
  {
    name: "a new cluster is not made twice",
    given: { store: ours, restore: other },
    kind: "restore-latest",
    because: /not repeated/,
  },
  {
    name: "a new cluster is not made over data",
    given: { volume: primary, restore: other },
    kind: "refuse",
    because: /empty volume/,
  },
];

for (const { name, given, kind, because } of cases) {
  test(`boot: ${name}`, () => {
    const decision = decideBoot(facts(given));
    assert.equal(decision.kind, kind, decision.because);
    assert.match(decision.because, because);
  });
}

test("boot: over all combinations, nothing is founded unless the volume is empty and no client was ever admitted", () => {
  const volumes: VolumeFacts[] = [empty, primary, standby, fetched, { kind: "unfinished", work: "seed" }];
  const stores: StoreFacts[] = [
    nothing,
    ours,
    foreign,
    silent,
    forbidden,
    sealed,
    damaged,
    claimed,
    admitted,
    givenUp,
  ];
  for (const volume of volumes)
    for (const store of stores)
      for (const members of [alone, led, partly, joiner])
        for (const restore of [null, request, other])
          for (const mayGiveUp of [false, true]) {
            const decision = decideBoot({
              releaseCommand: false,
              volume,
              store,
              members,
              restore,
              mayGiveUp,
            });
            assert.ok(decision.because.length > 5);
            if (decision.kind !== "found") continue;
            assert.deepEqual([volume.kind, restore], ["empty", null]);
            if (decision.over === null) assert.deepEqual([store, members], [nothing, alone]);
            else assert.ok(mayGiveUp && (store === claimed || store === givenUp));
          }
});
