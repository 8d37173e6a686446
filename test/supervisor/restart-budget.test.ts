import assert from "node:assert/strict";
import { test } from "node:test";
import { decideRestart, type RestartBudget } from "../../src/supervisor/restart-budget.ts";

const budget: RestartBudget = {
  policy: "permanent",
  starts: 3,
  windowMs: 60_000,
  firstPauseMs: 100,
  mostPauseMs: 300,
};
const killed = { code: null, signal: "SIGKILL" };
const done = { code: 0, signal: null };

const cases = [
  {
    name: "a permanent child comes back",
    budget,
    exit: killed,
    starts: [0],
    now: 10,
    expect: { kind: "restart", pauseMs: 100, because: "it was ended by SIGKILL" },
  },
  {
    name: "a permanent child comes back after status 0",
    budget,
    exit: done,
    starts: [0],
    now: 10,
    expect: { kind: "restart", pauseMs: 100, because: "it ended with status 0" },
  },
  {
    name: "the pause doubles",
    budget,
    exit: killed,
    starts: [0, 5],
    now: 10,
    expect: { kind: "restart", pauseMs: 200, because: "it was ended by SIGKILL" },
  },
  {
    name: "the pause has a limit",
    budget: { ...budget, starts: 9 },
    exit: killed,
    starts: [0, 1, 2, 3],
    now: 10,
    expect: { kind: "restart", pauseMs: 300, because: "it was ended by SIGKILL" },
  },
  {
    name: "the budget ends",
    budget,
    exit: killed,
    starts: [0, 5, 8],
    now: 10,
    expect: { kind: "give-up", because: "it was ended by SIGKILL and started 3 times within 60 s" },
  },
  {
    name: "starts before the window do not count",
    budget,
    exit: killed,
    starts: [0, 1, 70_000],
    now: 70_001,
    expect: { kind: "restart", pauseMs: 100, because: "it was ended by SIGKILL" },
  },
  {
    name: "a transient child that finished is left",
    budget: { ...budget, policy: "transient" },
    exit: done,
    starts: [0],
    now: 10,
    expect: { kind: "leave", because: "it finished" },
  },
  {
    name: "a temporary child is left",
    budget: { ...budget, policy: "temporary" },
    exit: killed,
    starts: [0],
    now: 10,
    expect: { kind: "leave", because: "it runs once and was ended by SIGKILL" },
  },
] as const;

for (const { name, budget: given, exit, starts, now, expect } of cases)
  test(`restart: ${name}`, () => assert.deepEqual(decideRestart(given, exit, starts, now), expect));
