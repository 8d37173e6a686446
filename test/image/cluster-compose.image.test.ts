// docker-compose.yml as a user runs it: one node, then three, then nothing but the file and the store. Only the S3 server is another one.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import {
  BASE_IMAGE,
  DOCKER,
  IMAGE,
  mustDocker,
  REPOSITORY,
  RGW_ROOT,
  RUN_OPTIONS,
  until,
} from "../support/image.ts";

const run = promisify(execFile);
const SECRET = "change-me-please-1";
const THREE = "n1,n2,n3";
const CREATE_BUCKET = `
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
const credentials = { accessKeyId: "holdfast", secretAccessKey: "${SECRET}" };
const client = new S3Client({ endpoint: "http://127.0.0.1:8333", region: "us-east-1", forcePathStyle: true, credentials });
await client.send(new CreateBucketCommand({ Bucket: "holdfast" }));
`;

test("compose: one node, then three, then all volumes of the nodes are lost", async (t) => {
  const compose = await openCompose(t);
  const sql = async (node: string, statement: string): Promise<string> =>
    await compose.must({}, "exec", "-T", node, "psql", "-U", "postgres", "-Atc", statement);
  // A node that founds or restores is healthy, so compose does not wait for its end.
  const hasRows = async (node: string): Promise<void> =>
    await until(
      async () => (await sql(node, "select count(*) from kept").catch(() => "")) === "100",
      120_000,
      `the rows on ${node}`,
    );
  await compose.must({}, "up", "-d", "--no-build", "--wait");
  assert.equal(await compose.must({}, "ps", "--services"), "n1\ns3");
  const made = async (): Promise<boolean> =>
    await sql("n1", "create table if not exists kept as select generate_series(1, 100) as id").then(
      () => true,
      () => false,
    );
  await until(made, 120_000, "the first node's table");

  const cluster = { NODES: THREE };
  await compose.must(cluster, "--profile", "cluster", "up", "-d", "--no-build", "--wait");
  for (const node of THREE.split(",")) await hasRows(node);
  const isWhole = async (): Promise<boolean> => {
    const asked = compose.must(cluster, "exec", "-T", "n2", "holdfast", "cluster", "status");
    // Refused while its supervisor is not there yet.
    const status = await asked.catch(() => "");
    return status.includes("n1 leads") && status.match(/ standby /g)?.length === 2;
  };
  await until(isWhole, 120_000, "n1 leads two standbys");

  await compose.must(cluster, "--profile", "cluster", "rm", "-sf", ...THREE.split(","));
  for (const node of THREE.split(",")) await mustDocker("volume", "rm", `${compose.project}_${node}`);
  await compose.must({}, "up", "-d", "--no-build", "--wait");
  await hasRows("n1");
});

interface Compose {
  readonly project: string;
  /** `docker compose` with these variables; its output. Throws unless it succeeds. */
  must(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<string>;
}

/** Compose comes from Debian's package in a container of its own and talks to this machine's engine. */
async function openCompose(t: TestContext): Promise<Compose> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-compose-"));
  const project = `hf${process.pid}compose`;
  await writeFile(join(folder, "Dockerfile"), DOCKERFILE);
  await writeFile(join(folder, "store.yml"), storeOverride());
  const authority = process.env["NODE_EXTRA_CA_CERTS"];
  const secret = authority === undefined ? [] : ["--secret", `id=ca,src=${authority}`];
  await run(DOCKER, ["build", "-q", "--network", "host", ...secret, "-t", "holdfast-compose", folder], {
    env: { ...process.env, DOCKER_BUILDKIT: "1" },
  });
  const compose: Compose = {
    project,
    must: async (env, ...args) =>
      await mustDocker(
        ...["run", "--rm", "-v", "/var/run/docker.sock:/var/run/docker.sock"],
        ...["-v", `${folder}:${folder}:ro`, "-v", `${REPOSITORY}:${REPOSITORY}:ro`],
        ...Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]),
        ...["holdfast-compose", "docker", "compose", "--progress", "plain", "-p", project],
        ...["-f", `${REPOSITORY}/docker-compose.yml`, "-f", `${folder}/store.yml`, ...args],
      ),
  };
  t.after(async () => {
    await compose.must({ NODES: THREE }, "--profile", "cluster", "down", "-v", "-t", "5");
    await rm(folder, { recursive: true, force: true });
  });
  t.diagnostic(await mustDocker("run", "--rm", "holdfast-compose", "docker", "compose", "version"));
  return compose;
}

const DOCKERFILE = `
FROM ${BASE_IMAGE}
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \\
    apt-get -o Acquire::Retries=3 update -q && apt-get -o Acquire::Retries=3 install -y -q --no-install-recommends docker-cli docker-compose
`;

/** SeaweedFS's image is not at hand: Ceph's gateway under the same name, port and keys. No port of the machine is taken. */
function storeOverride(): string {
  const parent = RUN_OPTIONS.find((option) => option.startsWith("--cgroup-parent="))?.slice(16);
  const share = parent === undefined ? "" : `, cgroup_parent: ${parent}`;
  const script = [
    "/scripts/rgw.sh start",
    `cd ${REPOSITORY} && node_modules/.bin/node --input-type=module -e "$$CREATE_BUCKET"`,
    "touch /ready",
    'trap "/scripts/rgw.sh stop; exit 0" TERM INT; sleep infinity & wait',
  ].join(" && ");
  return `
services:
  s3:
    <<: { image: ${BASE_IMAGE}${share} }
    command: ${JSON.stringify(["bash", "-c", script])}
    environment:
      RGW_ROOT: ${RGW_ROOT}
      RGW_NAME: compose-${process.pid}
      RGW_BIND: 0.0.0.0
      RGW_STORE: memstore
      RGW_PORT: "8333"
      S3_ACCESS_KEY: holdfast
      S3_SECRET_KEY: ${SECRET}
      CREATE_BUCKET: ${JSON.stringify(CREATE_BUCKET)}
    volumes: ["${RGW_ROOT}:${RGW_ROOT}", "${REPOSITORY}/scripts:/scripts:ro", "${REPOSITORY}:${REPOSITORY}:ro"]
    ports: !reset []
    healthcheck: { test: ["CMD", "test", "-e", "/ready"] }
${THREE.split(",")
  .map((name) => `  ${name}: { image: "${IMAGE}", ports: !reset []${share} }`)
  .join("\n")}
`;
}
