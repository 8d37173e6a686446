// What users may set, and how it is read and written.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checkParameters,
  formatParameter,
  parameterProblem,
  parseParameterFile,
} from "../../src/postgres/parameters.ts";

for (const [name, value] of [
  ["work_mem", "64MB"],
  ["fsync", "on"],
  ["full_page_writes", "TRUE"],
  ["wal_level", "logical"],
  ["max_wal_senders", "5"],
  ["max_slot_wal_keep_size", "10GB"],
  ["password_encryption", "scram-sha-256"],
  ["cron.database_name", "app"],
  ["synchronous_commit", "off"],
] as const) {
  test(`allowed: ${name} = ${value}`, () => assert.equal(parameterProblem(name, value), null));
}

for (const [name, value, problem] of [
  ["fsync", "off", /cannot be off/],
  ["fsync", "F", /cannot be off/],
  ["full_page_writes", "0", /cannot be off/],
  ["wal_level", "Minimal", /cannot be minimal/],
  ["data_sync_retry", "on", /cannot be on/],
  ["password_encryption", "md5", /can only be scram-sha-256/],
  ["max_wal_senders", "4", /at least 5/],
  ["max_replication_slots", "many", /at least 5/],
  ["max_slot_wal_keep_size", "-1", /cannot be unbounded/],
  ["archive_mode", "off", /set by Holdfast/],
  ["archive_command", "true", /set by Holdfast/],
  ["restore_command", "true", /set by Holdfast/],
  ["primary_conninfo", "x", /set by Holdfast/],
  ["port", "5432", /POSTGRES_PORT/],
  ["recovery_target_time", "now", /RESTORE_TARGET_…/],
  ["recovery_target_action", "promote", /RESTORE_TARGET_…/],
  ["synchronous_standby_names", "*", /DURABILITY/],
  ["unix_socket_permissions", "0777", /asks for no password/],
  ["work mem", "1", /not the name/],
  ["a.b.c", "1", /not the name/],
  ["work_mem", "1\n", /line break/],
] as const) {
  test(`refused: ${name} = ${JSON.stringify(value)}`, () =>
    assert.match(parameterProblem(name, value) ?? "", problem));
}

test("names are taken in any case, the later of two values wins, and problems name their setting", () => {
  assert.deepEqual(
    checkParameters([
      ["Work_Mem", "1MB"],
      ["WORK_MEM", "2MB"],
      ["FSYNC", "off"],
    ]),
    {
      parameters: { work_mem: "2MB" },
      problems: ["fsync cannot be off: after a crash the log and the volume would differ (W7)"],
    },
  );
});

test("a file is read as Postgres reads it", () => {
  const { entries, problems } = parseParameterFile(
    [
      "# a comment",
      "",
      "work_mem = 64MB   # why",
      "shared_buffers '1 GB'",
      "Search_Path='it''s \\'here\\', a\\\\b'",
      "log_line_prefix = '%m [%p] # no comment'",
      "listen_addresses=''",
      "include 'other.conf'",
      "include_dir = 'conf.d'",
      "work_mem",
      "max_connections = 10 20",
      "app.user = x\r",
    ].join("\n"),
  );
  assert.deepEqual(entries, [
    ["work_mem", "64MB"],
    ["shared_buffers", "1 GB"],
    ["search_path", "it's 'here', a\\b"],
    ["log_line_prefix", "%m [%p] # no comment"],
    ["listen_addresses", ""],
    ["app.user", "x"],
  ]);
  assert.deepEqual(problems, [
    "line 8 is not `name = value`",
    "line 9 is not `name = value`",
    "line 10 is not `name = value`",
    "line 11 is not `name = value`",
  ]);
});

test("what is written is read back", () => {
  for (const value of ["", "64MB", "it's", "back\\slash", `"$user", public`, "# no comment", "%f %p"]) {
    assert.deepEqual(parseParameterFile(formatParameter("x.y", value)).entries, [["x.y", value]]);
  }
});
