// The files a server is started with, as text.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Secret } from "../../src/base/secret.ts";
import {
  cleanAutoConf,
  configPaths,
  conninfoValue,
  NO_ROLE,
  passfileLine,
  primaryConninfo,
  renderMainConfig,
  renderRoleConfig,
  serverArguments,
} from "../../src/postgres/config-files.ts";

const paths = configPaths("/data/holdfast");
const main = (change: Partial<Parameters<typeof renderMainConfig>[0]> = {}): string =>
  renderMainConfig({
    paths,
    dataDirectory: "/data/pgdata",
    nodeName: "n1",
    tuning: { shared_buffers: "1MB" },
    userFile: {},
    environment: {},
    preload: ["pg_stat_statements", "repmgr"],
    ...change,
  });
const order = (text: string, ...parts: readonly string[]): void => {
  const places = parts.map((part) => text.indexOf(part));
  assert.ok(!places.includes(-1), `all of ${parts.join(", ")} in\n${text}`);
  assert.deepEqual(
    places,
    [...places].sort((a, b) => a - b),
    parts.join(" before "),
  );
};

test("the later line wins: what the cluster brings, the machine, the user's file, the environment, ours", () => {
  const text = main({ userFile: { shared_buffers: "2MB" }, environment: { shared_buffers: "3MB" } });
  order(
    text,
    "include_if_exists = '/data/pgdata/postgresql.conf'",
    "shared_buffers = '1MB'",
    "wal_level = 'replica'",
    "shared_buffers = '2MB'",
    "shared_buffers = '3MB'",
    "cluster_name = 'n1'",
    "include_if_exists = '/data/holdfast/postgres/role.conf'",
  );
});

test("libraries of the user's come behind ours, each once, and the environment's list counts", () => {
  const preloads = (text: string): readonly string[] => text.match(/^shared_preload_libraries.*$/gm) ?? [];
  assert.deepEqual(preloads(main()), ["shared_preload_libraries = 'pg_stat_statements,repmgr'"]);
  assert.deepEqual(
    preloads(
      main({
        userFile: { shared_preload_libraries: "left_out" },
        environment: { shared_preload_libraries: 'pg_cron, "repmgr",auto_explain' },
      }),
    ),
    ["shared_preload_libraries = 'pg_stat_statements,repmgr,pg_cron,auto_explain'"],
  );
});

test("a path with a quote in it is quoted", () => {
  assert.match(
    main({ dataDirectory: "/it's/pgdata" }),
    /include_if_exists = '\/it''s\/pgdata\/postgresql\.conf'/,
  );
});

test("a primary follows nobody; a standby follows whom it is told", () => {
  const primary = renderRoleConfig(NO_ROLE);
  for (const line of [
    "primary_conninfo = ''",
    "primary_slot_name = ''",
    "synchronous_standby_names = ''",
    "recovery_target_timeline = 'latest'",
  ]) {
    assert.ok(primary.includes(line), line);
  }
  const standby = renderRoleConfig({
    primaryConninfo: "host=a password='x y'",
    primarySlot: "n2",
    synchronousStandbyNames: 'ANY 1 ("n2")',
    recovery: { recovery_target_timeline: "3" },
  });
  assert.match(standby, /primary_conninfo = 'host=a password=''x y'''/);
  assert.match(standby, /synchronous_standby_names = 'ANY 1 \("n2"\)'/);
  assert.deepEqual(standby.match(/^recovery_target_timeline.*$/gm), ["recovery_target_timeline = '3'"]);
});

test("promises stand in the arguments, where ALTER SYSTEM cannot reach, and no secret does", () => {
  const args = serverArguments({
    paths,
    port: 5433,
    listenAddress: "*",
    socketDirectories: ["/run/postgresql", "/tmp"],
    hook: "holdfast-hook",
    raised: { max_connections: "500" },
  });
  const pairs = args.filter((word) => word !== "-c");
  assert.equal(args.length, pairs.length * 2);
  for (const pair of [
    "config_file=/data/holdfast/postgres/postgresql.conf",
    "fsync=on",
    "full_page_writes=on",
    "archive_mode=on",
    "archive_command=holdfast-hook archive %f %p",
    "restore_command=holdfast-hook restore %f %p",
    "unix_socket_directories=/run/postgresql,/tmp",
    "unix_socket_permissions=0770",
    "max_connections=500",
  ]) {
    assert.ok(pairs.includes(pair), pair);
  }
});

test("the connection string names every member and holds no password", () => {
  const text = primaryConninfo({
    hosts: [
      { host: "n1", port: 5433 },
      { host: "fdaa::3", port: 5433 },
    ],
    user: "repmgr",
    passfile: "/data/holdfast/postgres/pgpass",
    applicationName: "it's n2",
  });
  assert.equal(
    text,
    "host=n1,fdaa::3 port=5433,5433 user=repmgr passfile=/data/holdfast/postgres/pgpass application_name='it\\'s n2' " +
      "target_session_attrs=read-write options='-c default_transaction_read_only=off' connect_timeout=3 tcp_user_timeout=5000 keepalives_idle=3 keepalives_interval=2 keepalives_count=3 sslmode=prefer",
  );
});

test("values of connection strings and password files are escaped", () => {
  assert.equal(conninfoValue("plain"), "plain");
  assert.equal(conninfoValue(""), "''");
  assert.equal(conninfoValue("a b\\c"), "'a b\\\\c'");
  assert.equal(passfileLine("rep:mgr", new Secret("a:b\\c")), "*:*:*:rep\\:mgr:a\\:b\\\\c\n");
});

test("postgresql.auto.conf keeps what is the user's", () => {
  const text = [
    "# Do not edit this file manually!",
    "work_mem = '64MB'",
    "Primary_Conninfo = 'host=old'",
    "recovery_target_time = '2026-01-01'",
    "shared_buffers = '6GB'",
    "restore_command = 'cp'",
    "fsync = 'off'",
    "",
  ].join("\n");
  assert.deepEqual(cleanAutoConf(text), {
    text: "# Do not edit this file manually!\nwork_mem = '64MB'\nshared_buffers = '6GB'\n",
    dropped: ["primary_conninfo", "recovery_target_time", "restore_command", "fsync"],
  });
  assert.deepEqual(cleanAutoConf(text, ["shared_buffers"]).dropped, [
    "primary_conninfo",
    "recovery_target_time",
    "shared_buffers",
    "restore_command",
    "fsync",
  ]);
  assert.deepEqual(cleanAutoConf(""), { text: "", dropped: [] });
});
