// docker-compose.yml and fly.toml say nothing that the program does not know.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { clusterSettingsOf } from "../../src/cli/cluster-settings.ts";
import { readSettings } from "../../src/cli/settings.ts";

const REPOSITORY = join(import.meta.dirname, "..", "..");
const compose = readFileSync(join(REPOSITORY, "docker-compose.yml"), "utf8");
const fly = readFileSync(join(REPOSITORY, "fly.toml"), "utf8");

const world = { readFile: () => "", isFolder: () => false, hostname: "n1" };

/** Lines below `header` that are indented deeper than it. */
function block(text: string, header: RegExp): string[] {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => header.test(line));
  assert.notEqual(at, -1, `${header} is not there`);
  const depth = lines[at]!.search(/\S/);
  const behind = lines.slice(at + 1);
  const end = behind.findIndex((line) => line.trim() !== "" && line.search(/\S/) <= depth);
  return behind.slice(0, end === -1 ? undefined : end).filter((line) => !/^\s*(#|$)/.test(line));
}

/** `${NAME:-fallback}` as a shell without NAME, or with `given`, has it. */
const interpolate = (value: string, given: Record<string, string>): string =>
  value.replaceAll(
    /\$\{(\w+):-([^}]*)\}/g,
    (_all, name: string, fallback: string) => given[name] ?? fallback,
  );

function composeEnvironment(given: Record<string, string> = {}): Record<string, string> {
  const pairs = block(compose, /^ {2}environment: &environment/).map((line) => {
    const match = /^\s+(\w+): (.*)$/.exec(line);
    assert.ok(match !== null, line);
    return [match[1]!, interpolate(match[2]!.replace(/^"(.*)"$/, "$1"), given)] as const;
  });
  return Object.fromEntries(pairs);
}

test("compose: the node's environment is understood, and nothing in it is without effect", () => {
  const settings = readSettings(composeEnvironment(), world);
  assert.deepEqual(settings.notices, []);
  assert.equal(settings.store.kind, "s3");
});

test("compose: one node is alone, three know each other, and a second one that was not named refuses to start", () => {
  const clusterOf = (hostname: string, given: Record<string, string> = {}) =>
    clusterSettingsOf(readSettings(composeEnvironment(given), { ...world, hostname }), "build");
  const hostnames = [...compose.matchAll(/^ {4}hostname: (\w+)$/gm)].map((match) => match[1]!);
  assert.deepEqual(hostnames, ["n1", "n2", "n3"]);
  assert.equal(clusterOf("n1"), null);
  for (const hostname of ["n2", "n3"]) assert.throws(() => clusterOf(hostname), /NODES is "n1"/);
  for (const hostname of hostnames) {
    const members = clusterOf(hostname, { NODES: "n1,n2,n3" })?.members.map(({ name }) => name);
    assert.deepEqual(members, hostnames);
  }
});

test("compose: the container's limit for a stop is longer than the node's own, and only loopback is published", () => {
  const { node } = readSettings(composeEnvironment(), world);
  assert.match(compose, /stop_grace_period: 2m/);
  assert.ok(node.stopTimeoutMs < 120_000);
  for (const [, port] of compose.matchAll(/^ {4}ports: \["([^"]+)"\]/gm))
    assert.match(port!, /^127\.0\.0\.1:/);
});

test("fly: its environment is understood, its ports are ours, its limit for a stop is longer than the node's", () => {
  const own = Object.fromEntries(
    block(fly, /^\[env\]/)
      .filter((line) => line.includes("="))
      .map((line) => line.trim().split(" = ") as [string, string])
      .map(([name, value]) => [name, JSON.parse(value) as string] as const),
  );
  const storage = {
    BUCKET_NAME: "my-bucket",
    AWS_ENDPOINT_URL_S3: "https://fly.storage.tigris.dev",
    AWS_ACCESS_KEY_ID: "tid_key",
    AWS_SECRET_ACCESS_KEY: "tsec_secret",
    AWS_REGION: "auto",
    SU_PASSWORD: "one-password-1",
    OPERATOR_PASSWORD: "another-password-2",
    REPL_PASSWORD: "third-password-3",
    FLY_APP_NAME: "my-db",
    FLY_MACHINE_ID: "148ed193b95089",
    FLY_PRIVATE_IP: "fdaa:0:1::3",
    FLY_REGION: "fra",
    PRIMARY_REGION: "fra",
  };
  const settings = readSettings({ ...own, ...storage }, world);
  assert.deepEqual(settings.notices, []);
  assert.deepEqual(
    [...fly.matchAll(/^ {2}port = (\d+)/gm)].map((match) => Number(match[1])),
    [
      settings.node.ports.checks,
      settings.node.ports.checks,
      settings.node.ports.checks,
      settings.node.ports.metrics,
    ],
  );
  const killTimeoutMs = Number(/^kill_timeout = (\d+)/m.exec(fly)?.[1]) * 1000;
  assert.ok(settings.node.stopTimeoutMs < killTimeoutMs);
  assert.match(fly, /destination = "\/data"/);
});
