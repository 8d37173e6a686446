// Behaviours 36 and 39: plain `docker run` with an environment file is enough, problems are said at once, doors and secrets are closed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, DOCKER, IMAGE, PASSWORD, S3_KEYS, docker, mustDocker } from "../support/image.ts";

/** Far above what it takes; the figure is printed, and a busy machine is not the image's fault. */
const READY_MS = 60_000;

test("an S3 endpoint and passwords are enough, and nothing secret shows", async (t) => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env() });
  const readyMs = await node.ready(READY_MS);
  t.diagnostic(`ready after ${Math.round(readyMs)} ms`);
  assert.ok(readyMs <= READY_MS, `ready only after ${readyMs} ms`);

  const backups = await node.shell("wal-g backup-list");
  assert.match(
    backups.stdout,
    /base_0000000100000000000000/,
    "the first backup is there before the first client",
  );

  assert.deepEqual(await node.get(5500, "/flycheck/role"), { status: 200, body: "primary" });
  for (const path of ["/flycheck/pg", "/flycheck/vm", "/health/live", "/health/ready"]) {
    assert.equal((await node.get(5500, path)).status, 200, path);
  }
  const metrics = (await node.get(9187, "/metrics")).body;
  for (const name of ["holdfast_archive_lag_bytes", "holdfast_archive_lag_seconds"])
    assert.match(metrics, new RegExp(name));

  await t.test("TCP asks for a password, and SCRAM is what is stored", async () => {
    const bare = await node.exec(
      "psql",
      "-h",
      "127.0.0.1",
      "-p",
      "5432",
      "-U",
      "postgres",
      "-w",
      "-c",
      "select 1",
    );
    assert.notEqual(bare.status, 0);
    const direct = await docker(
      ...["run", "--rm", "--network", bench.id, "--entrypoint", "psql", "-e", "PGPASSWORD=wrong", IMAGE],
      ...["-h", await node.address(), "-p", "5433", "-U", "postgres", "-c", "select 1"],
    );
    assert.notEqual(direct.status, 0);
    assert.match(
      await node.sql("select rolpassword from pg_authid where rolname = 'postgres'"),
      /^SCRAM-SHA-256/,
    );
    assert.equal(await node.sql("show ssl"), "on");
    assert.equal((await node.shell("psql -U postgres -Atc 'select 1'")).stdout.trim(), "1");
  });

  await t.test("no secret in ps, logs, children's environment, settings or layers", async () => {
    const secrets = [PASSWORD, S3_KEYS.secretAccessKey];
    const shown = [
      (await node.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).stdout,
      (await node.shell("for p in $(pgrep -u postgres); do cat /proc/$p/environ; done | tr '\\0' '\\n'"))
        .stdout,
      await node.log(),
      await node.sql("select string_agg(name || setting, ' ') from pg_settings"),
      await mustDocker("history", "--no-trunc", IMAGE),
      (
        await node.shell(
          "cat /data/pgdata/*.conf /data/holdfast/*.conf 2>/dev/null; cat /data/pgdata/log/* 2>/dev/null",
        )
      ).stdout,
    ];
    for (const [index, text] of shown.entries()) {
      for (const secret of secrets) assert.ok(!text.includes(secret), `a secret shows in place ${index}`);
    }
    const owners = (
      await node.shell("ps -eo user=,comm= | grep -E 'postgres$' | awk '{print $1}' | sort -u")
    ).stdout.trim();
    assert.equal(owners, "postgres");
  });
});

test("a mounted folder as the store is enough", async (t) => {
  await using bench = await Bench.open({ s3: false });
  const store = await bench.folder();
  const run = async () =>
    bench.run({
      env: { POSTGRES_PASSWORD: PASSWORD, WALG_FILE_PREFIX: "/store" },
      options: ["-v", `${store}:/store`],
    });
  const node = await run();
  const readyMs = await node.ready(READY_MS);
  t.diagnostic(`ready after ${Math.round(readyMs)} ms`);
  assert.ok(readyMs <= READY_MS, `ready only after ${readyMs} ms`);
  await node.sql("create table t as select 42 as answer");
  assert.equal(await node.stop(), 0);
  const again = await run();
  await again.ready(READY_MS);
  assert.equal(await again.sql("select answer from t"), "42");
});

test("all problems of the settings are named at once, with status 2", async () => {
  await using bench = await Bench.open({ s3: false });
  const ran = await bench.runOnce({
    env: {
      POSTGRES_PASSWORD: '"quoted"',
      WALG_S3_PREFIX: "s3://bucket/x",
      WAL_FLUSH_INTERVAL: "soon",
      BACKUP_SCHEDULE: "every day",
      WALG_COMPRESSION_METHOD: "zip",
    },
  });
  assert.equal(ran.status, 2);
  const said = ran.stdout + ran.stderr;
  for (const name of [
    "POSTGRES_PASSWORD",
    "WAL_FLUSH_INTERVAL",
    "BACKUP_SCHEDULE",
    "WALG_COMPRESSION_METHOD",
  ]) {
    assert.match(said, new RegExp(name), `${name} is not named in:\n${said}`);
  }
});

test("the image says what it holds", async () => {
  const labels = JSON.parse(await mustDocker("inspect", "-f", "{{json .Config.Labels}}", IMAGE)) as Record<
    string,
    string
  >;
  const version = await mustDocker("run", "--rm", "--entrypoint", "postgres", IMAGE, "--version");
  const user = await mustDocker("run", "--rm", "--entrypoint", "id", IMAGE, "postgres");
  assert.match(user, /^uid=999\(postgres\) gid=999\(postgres\)/, "the same in the images of all majors");
  assert.equal(labels["org.opencontainers.image.licenses"], "Apache-2.0");
  assert.equal(labels["fly.version"], "custom");
  const postgres = /(\d+\.\d+)/.exec(version)![1]!;
  assert.ok(
    Object.values(labels).some((value) => value.includes(postgres)),
    `${JSON.stringify(labels)} lacks ${postgres}`,
  );
  assert.ok(DOCKER.length > 0);
});
