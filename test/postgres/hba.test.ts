// Who may connect, as text; test/postgres/server-files.pg.test.ts tries the doors.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHbaLines, type HbaConfig, renderHba } from "../../src/postgres/hba.ts";

const rules = (change: Partial<HbaConfig> = {}): readonly string[] =>
  renderHba({
    clients: "open",
    replication: "open",
    replicationUser: "repmgr",
    replicationFrom: ["10.0.0.0/8", "fc00::/7"],
    hostAuth: "scram-sha-256",
    tlsRequired: false,
    userLines: [],
    ...change,
  })
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.replaceAll(/\s+/g, " "));

const LOCAL = ["local all all trust", "local replication all trust"];

test("open: members replicate, others do not, everybody else proves himself", () => {
  assert.deepEqual(rules(), [
    ...LOCAL,
    "host replication repmgr 10.0.0.0/8 scram-sha-256",
    "host all repmgr 10.0.0.0/8 scram-sha-256",
    "host replication repmgr fc00::/7 scram-sha-256",
    "host all repmgr fc00::/7 scram-sha-256",
    "host all repmgr all reject",
    "host replication all all reject",
    "host all all all scram-sha-256",
  ]);
});

test("closed: nobody from elsewhere, whatever the user wrote, whatever the method", () => {
  const closed = [
    ...LOCAL,
    "host all repmgr all reject",
    "host all all all reject",
    "host replication all all reject",
  ];
  assert.deepEqual(rules({ clients: "closed", replication: "closed" }), closed);
  assert.deepEqual(
    rules({
      clients: "closed",
      replication: "closed",
      hostAuth: "trust",
      userLines: ["host all all all trust"],
    }),
    closed,
  );
});

test("members may be let in before clients are", () => {
  const list = rules({ clients: "closed" });
  assert.ok(list.includes("host replication repmgr 10.0.0.0/8 scram-sha-256"));
  assert.ok(list.includes("host all all all reject"));
});

test("the member's role is never let in by trust", () => {
  assert.ok(rules({ hostAuth: "trust" }).every((rule) => !/repmgr.*trust/.test(rule)));
});

test("TLS can be required of other machines", () => {
  assert.deepEqual(rules({ tlsRequired: true }).slice(-4), [
    "host all all 127.0.0.0/8 scram-sha-256",
    "host all all ::1/128 scram-sha-256",
    "hostnossl all all all reject",
    "host all all all scram-sha-256",
  ]);
});

test("lines of the user's come before the general rule", () => {
  const line = "hostssl app reader 203.0.113.0/24 cert";
  const list = rules({ userLines: [line] });
  assert.ok(list.indexOf(line) > list.indexOf("host all repmgr all reject"));
  assert.ok(list.indexOf(line) < list.indexOf("host all all all scram-sha-256"));
});

for (const [line, problem] of [
  ["host all all 10.0.0.0/8 scram-sha-256", null],
  ["host all all 10.0.0.0 255.0.0.0 md5", null],
  ["host all all fe80:: ffff:: reject", null],
  ["local all all peer", null],
  [`hostssl "my db" "a user" all cert clientcert=verify-full`, null],
  ["# a comment", null],
  ["hots all all all trust", /begins with "hots"/],
  ["host all all", /too few words/],
  ["host all all all", /too few words/],
  ["host all all all md6", /the method "md6"/],
  ["local all all scram", /the method "scram"/],
] as const) {
  test(`line: ${line}`, () => {
    const { lines, problems } = checkHbaLines(`\n${line}\n`);
    if (problem === null) assert.deepEqual([lines, problems], [line.startsWith("#") ? [] : [line], []]);
    else {
      assert.deepEqual(lines, []);
      assert.match(problems.join(), problem);
      assert.match(problems.join(), /^line 2 /);
    }
  });
}
