// The words of `holdfast cluster`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkWords } from "../../src/cli/cluster-commands.ts";

const good = [
  "status",
  "status --json",
  "switchover",
  "switchover n2",
  "pause",
  "resume --json",
  "forget n3",
  "reinit",
  "reinit n2",
  "promote",
  "promote --force",
];
for (const words of good)
  test(`cluster ${words}`, () => assert.doesNotThrow(() => checkWords(words.split(" "))));

const bad = [
  ["reboot", '"reboot" is not known; one of status, switchover, pause, resume, forget, reinit, promote'],
  ["forget", "forget takes the member's name"],
  ["switchover n1 n2", '"n2" is too much'],
  ["pause n1", '"n1" is too much'],
  ["switchover --force", '"--force" is not known'],
  ["forget a;b", '"a;b" cannot be a member\'s name'],
] as const;
for (const [words, message] of bad)
  test(`cluster ${words} is refused`, () => assert.throws(() => checkWords(words.split(" ")), { message }));
