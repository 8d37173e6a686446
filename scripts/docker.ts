// The Docker engine and the images that the tests run in: started, bootstrapped and built when they are missing.

import { spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $, retry, sleep } from "zx";

/** Debian's suite that carries each Postgres major. */
const SUITES = { 15: "bookworm", 17: "trixie", 18: "sid" } as const;
export type Major = keyof typeof SUITES;

/** Debian's own client; another one on the PATH may lack BuildKit. */
export const DOCKER = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker";

const BUILD_ATTEMPTS = 3;

export const imageName = (major: Major): string => `holdfast:${major}`;

/** Starts an engine unless one answers; it is left running. Throws when none comes up within 60 s. */
export async function startEngine(logFile: string): Promise<void> {
  if (await answers()) return;
  const log = openSync(logFile, "a");
  spawn("dockerd", ["--default-ulimit", "nofile=20000:20000"], {
    detached: true,
    stdio: ["ignore", log, log],
  }).unref();
  for (let second = 0; second < 60; second += 1) {
    await sleep(1000);
    if (await answers()) return;
  }
  throw new Error(`no Docker engine answers after 60 s; read ${logFile}`);
}

/** Builds the image from the Dockerfile on a base image bootstrapped from Debian's archive. */
export async function buildImage(major: Major, repository: string): Promise<void> {
  const base = await baseImage(major);
  const authority = process.env["NODE_EXTRA_CA_CERTS"];
  const secret = authority === undefined ? [] : ["--secret", `id=ca,src=${authority}`];
  const revision = (await $`git -C ${repository} rev-parse --short HEAD`.nothrow().quiet()).stdout.trim();
  const common = [
    "--network",
    "host",
    ...secret,
    "--build-arg",
    `BASE_IMAGE=${base}`,
    "--build-arg",
    `PG_MAJOR=${major}`,
  ];
  // A registry that does not answer once is no reason to give up; what was built already is kept.
  const build = async (...options: readonly string[]): Promise<unknown> =>
    retry(
      BUILD_ATTEMPTS,
      async () =>
        $({
          env: { ...process.env, DOCKER_BUILDKIT: "1" },
          quiet: true,
        })`${DOCKER} build ${common} ${options} ${repository}`,
    );
  // A label cannot be computed while building: the packages say which Postgres they brought.
  const packages = `holdfast-packages:${major}`;
  await build("--target", "packages", "-t", packages);
  const program = `/usr/lib/postgresql/${major}/bin/postgres`;
  const version = (await $({ quiet: true })`${DOCKER} run --rm ${packages} ${program} --version`).stdout;
  const labels = [
    `POSTGRES_VERSION=${/[0-9.]+/.exec(version)?.[0] ?? "unknown"}`,
    `REVISION=${revision || "unknown"}`,
  ];
  await build(...labels.flatMap((label) => ["--build-arg", label]), "-t", imageName(major));
}

/** A minimal Debian of the suite, made by debootstrap and kept as an image. */
async function baseImage(major: Major): Promise<string> {
  const suite = SUITES[major];
  const name = `holdfast-base:${suite}`;
  if ((await $`${DOCKER} image inspect ${name}`.nothrow().quiet()).exitCode === 0) return name;
  const folder = await mkdtemp(join(tmpdir(), `holdfast-${suite}-`));
  try {
    await $({ quiet: true })`debootstrap --variant=minbase ${suite} ${folder} ${await mirror()}`;
    // A frozen mirror is past the Valid-Until of testing and sid; signatures are still checked.
    await writeFile(join(folder, "etc/apt/apt.conf.d/99base"), 'Acquire::Check-Valid-Until "false";\n');
    await $({ quiet: true })`tar -C ${folder} -c . | ${DOCKER} import - ${name}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return name;
}

/** The Debian mirror that this machine's apt already uses. */
async function mirror(): Promise<string> {
  const format = "$(SITE)";
  const sites = await $({
    quiet: true,
  })`apt-get indextargets --format ${format} ${"Created-By: Packages"} ${"Label: Debian"}`;
  const first = sites.stdout.split("\n")[0];
  if (first === undefined || first === "") throw new Error("apt knows no Debian mirror; run apt-get update");
  return first;
}

const answers = async (): Promise<boolean> => (await $`${DOCKER} info`.nothrow().quiet()).exitCode === 0;
