import assert from "node:assert/strict";
import { test } from "node:test";
import { answerCheck } from "../../src/supervisor/health.ts";
import type { NodeView } from "../../src/supervisor/node-view.ts";
import { nodeView, streaming } from "../support/node-view.ts";

const trouble = { sinceMs: 1_700_000_040_000, failures: 9, lastError: "connect ECONNREFUSED" };
const restoring = {
  phase: "restoring",
  because: "fetching base_1",
  doorsOpen: false,
  postgresUp: false,
  role: "none",
} as const;
const suspect = { phase: "suspect", because: "a newer fence stands", doorsOpen: false } as const;

const cases: readonly {
  name: string;
  given: Partial<NodeView>;
  path: string;
  status: number;
  text: RegExp;
}[] = [
  {
    name: "a healthy primary is ready",
    given: {},
    path: "/health/ready",
    status: 200,
    text: /primary on timeline 1/,
  },
  { name: "its role is one word", given: {}, path: "/flycheck/role", status: 200, text: /^primary$/ },
  { name: "it is a primary", given: {}, path: "/primary", status: 200, text: /primary/ },
  { name: "it is no replica", given: {}, path: "/replica", status: 503, text: /primary/ },
  {
    name: "a standby is a replica",
    given: { role: "standby" },
    path: "/replica",
    status: 200,
    text: /^replica$/,
  },
  {
    name: "a restoring node is alive",
    given: restoring,
    path: "/health/live",
    status: 200,
    text: /restoring: fetching/,
  },
  {
    name: "a restoring node is not ready",
    given: restoring,
    path: "/health/ready",
    status: 503,
    text: /fetching base_1/,
  },
  {
    name: "a restoring node's Postgres does not pass",
    given: restoring,
    path: "/flycheck/pg",
    status: 503,
    text: /fetching base_1/,
  },
  {
    name: "a fenced node is not 200",
    given: suspect,
    path: "/flycheck/role",
    status: 503,
    text: /^suspect$/,
  },
  {
    name: "a node with closed doors is no primary",
    given: { doorsOpen: false },
    path: "/primary",
    status: 503,
    text: /^closed$/,
  },
  {
    name: "an ending node is not alive",
    given: { phase: "failed", because: "out of starts" },
    path: "/health/live",
    status: 503,
    text: /out of starts/,
  },
  {
    name: "an archive that is behind fails with the last error",
    given: { streamer: streaming({ lagSeconds: 60, store: trouble }) },
    path: "/flycheck/archive",
    status: 503,
    text: /60.0 s behind; last error: connect ECONNREFUSED/,
  },
  {
    name: "an archive that is a little behind passes",
    given: { streamer: streaming({ lagSeconds: 1, lagBytes: 8 }) },
    path: "/flycheck/archive",
    status: 200,
    text: /8 bytes and 1.0 s behind/,
  },
  {
    name: "a file that nobody takes fails, for all WAL behind it stays on the disk",
    given: {
      nextToArchive: { name: "000000010000000000000003", sinceMs: nodeView().atMs - 90_000 },
      readySegments: 7,
    },
    path: "/flycheck/archive",
    status: 503,
    text: /"000000010000000000000003" waits for archive_command since 90 s, and 7 segments stay on the disk/,
  },
  {
    name: "a file that was just offered passes",
    given: {
      nextToArchive: { name: "000000010000000000000003", sinceMs: nodeView().atMs - 2_000 },
      readySegments: 1,
    },
    path: "/flycheck/archive",
    status: 200,
    text: /^((?!waits).)*$/s,
  },
  {
    name: "different bytes under a taken name fail for good",
    given: { streamer: streaming({ alarms: ["segment X differs"] }) },
    path: "/flycheck/archive",
    status: 503,
    text: /segment X differs/,
  },
  {
    name: "failed backups show",
    given: { schedule: { nextBackupMs: null, running: null, trouble } },
    path: "/health/archive",
    status: 503,
    text: /9 runs failed in a row/,
  },
  {
    name: "a full disk fails the machine's check",
    given: { disk: { totalBytes: 100, freeBytes: 5, readOnlyBytes: 6, pressure: "read-only" } },
    path: "/flycheck/vm",
    status: 503,
    text: /5.0 % free .*no writes are taken/,
  },
  {
    name: "everything at once",
    given: {},
    path: "/health",
    status: 200,
    text: /live.*\n.*ready.*\n.*postgres.*\n.*archive.*\n.*backup.*\n.*disk/,
  },
];

for (const { name, given, path, status, text } of cases)
  test(`health: ${name}`, () => {
    const answer = answerCheck(path, nodeView(given));
    assert.ok(answer !== null);
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.text, text);
  });

test("health: an unknown path is no check", () => assert.equal(answerCheck("/admin", nodeView()), null));

test("a member that fills its volume does not stop a roll while another one serves", () => {
  const member = {
    standing: "joining",
    primary: "n1",
    isServed: true,
    members: 3,
    inSight: 3,
    because: "n1 leads",
  };
  const filling = nodeView({ phase: "restoring", role: "none", doorsOpen: false, postgresUp: false, member });
  assert.equal(answerCheck("/flycheck/pg", filling)?.status, 200);
  assert.equal(answerCheck("/health/ready", filling)?.status, 503);
  const alone = nodeView({ ...filling, member: { ...member, isServed: false } });
  assert.equal(answerCheck("/flycheck/pg", alone)?.status, 503);
});
