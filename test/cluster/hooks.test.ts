// repmgr's hooks: read, answered, and never a yes that promotes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { answerHook, parseHook } from "../../src/cluster/hooks.ts";
import { renderRepmgrConfig } from "../../src/cluster/repmgr.ts";

const cases = [
  { words: "validate 2 n2 1 1 2", standing: "standby", exit: 1 },
  { words: "validate 2 n2 1 1 2", standing: "primary", exit: 0 },
  { words: "promote", standing: "standby", exit: 1 },
  { words: "promote", standing: "candidate", exit: 1 },
  { words: "follow 3", standing: "standby", exit: 0 },
  { words: "event 1 repmgrd_start 1", standing: "standby", exit: 0 },
  { words: "start", standing: "standby", exit: 0 },
  { words: "stop", standing: "standby", exit: 1 },
] as const;

for (const { words, standing, exit } of cases) {
  test(`hook ${words} on a ${standing} exits with ${exit}`, () => {
    const hook = parseHook(words.split(" "));
    assert.ok(hook !== null);
    const answer = answerHook(hook, { standing, isServerUp: true });
    assert.equal(answer.exit, exit);
    assert.doesNotMatch(answer.line, /\n/);
  });
}

test("what is no hook is none", () => {
  for (const words of ["", "validate", "validate x n2", "follow", "event", "reboot"])
    assert.equal(parseHook(words.split(" ")), null);
});

test("repmgr.conf quotes what it holds", () => {
  const text = renderRepmgrConfig({
    self: { name: "n1", host: "n1" },
    port: 5433,
    user: "repmgr",
    passfile: "/data/holdfast/postgres/pgpass",
    dataDirectory: "/data/it's here",
    bin: "/usr/lib/postgresql/17/bin",
    hook: "holdfast-hook",
    priority: 100,
    pidFile: "/run/holdfast/repmgrd.pid",
  });
  assert.match(text, /^node_name='n1'$/m);
  assert.match(text, /^data_directory='\/data\/it''s here'$/m);
  assert.match(text, /^connection_check_type='ping'$/m);
  assert.match(text, /^promote_command='holdfast-hook hook promote'$/m);
});
