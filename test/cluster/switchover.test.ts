// Stop, promote, turn round; and what to do when a step does not come.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type SwitchoverEvent,
  type SwitchoverStep,
  advanceSwitchover,
  beginSwitchover,
} from "../../src/cluster/switchover.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const ready: SwitchoverEvent = { kind: "ready" };
const stopped: SwitchoverEvent = { kind: "stopped", at: parseLsn("0/28") };
const received: SwitchoverEvent = { kind: "received" };
const taken: SwitchoverEvent = { kind: "taken-over" };
const turned: SwitchoverEvent = { kind: "turned-round" };
const refused: SwitchoverEvent = { kind: "refused", because: "it is behind" };
const silence: SwitchoverEvent = { kind: "silence", because: "no answer" };

const cases: readonly { name: string; events: readonly SwitchoverEvent[]; step: SwitchoverStep }[] = [
  { name: "all goes well", events: [ready, stopped, received, taken, turned], step: "done" },
  { name: "not ready: nothing was touched", events: [refused], step: "done" },
  { name: "no answer before the stop: nothing was touched", events: [silence], step: "done" },
  { name: "it did not receive everything: lead again", events: [ready, stopped, silence], step: "resume" },
  {
    name: "it refuses to take over: lead again",
    events: [ready, stopped, received, refused],
    step: "resume",
  },
  {
    name: "no answer to the hand-over: the log decides",
    events: [ready, stopped, received, silence],
    step: "contend",
  },
  { name: "an event of another step", events: [ready, received], step: "stop" },
];

for (const { name, events, step } of cases) {
  test(`switchover: ${name}`, () => {
    const begun = beginSwitchover("n2", 0, "it was asked for");
    assert.equal(events.reduce(advanceSwitchover, begun).step, step);
  });
}
