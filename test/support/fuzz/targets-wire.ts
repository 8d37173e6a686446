// Foreign repositories, and what comes over sockets: members, the local socket, the daemon's clients.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBackupInfo, PgBackRestError } from "../../../src/cli/pgbackrest/info.ts";
import { readManifest } from "../../../src/cli/pgbackrest/manifest.ts";
import { ProtocolError, decodeRequest, encodeRequest } from "../../../src/cli/walg/daemon-protocol.ts";
import { parseHook } from "../../../src/cluster/hooks.ts";
import { type Report, formatReport, parseReport } from "../../../src/cluster/report.ts";
import { parseRoster } from "../../../src/cluster/roster.ts";
import { formatAnswer, parseRequest } from "../../../src/supervisor/local-socket.ts";
import { parseLsn } from "../../../src/wal/lsn.ts";
import { mutateBytes, mutateJson, mutateText } from "./mutate.ts";
import { type FuzzTarget } from "./target.ts";

/** Files of the repository that pgBackRest wrote. */
function repositoryFiles(pattern: string): readonly Uint8Array[] {
  const folder = mkdtempSync(join(tmpdir(), "pgbackrest-"));
  try {
    const archive = join(import.meta.dirname, "../../fixtures/pgbackrest/repository.tar.zst");
    const unpacked = spawnSync("tar", ["xf", archive, "-C", folder]);
    if (unpacked.status !== 0) throw new Error(String(unpacked.stderr));
    const found = spawnSync("find", [folder, "-name", pattern], { encoding: "utf8" });
    return found.stdout
      .split("\n")
      .filter((path) => path !== "")
      .sort()
      .map((path) => readFileSync(path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const info: FuzzTarget = {
  name: "pgbackrest-info",
  corpus: async () => repositoryFiles("backup.info"),
  mutate: mutateText,
  feed: (input) => void readBackupInfo(input.toString("utf8"), "backup.info"),
  declared: [PgBackRestError],
};

const manifest: FuzzTarget = {
  name: "pgbackrest-manifest",
  corpus: async () => repositoryFiles("backup.manifest").map(shortened),
  mutate: mutateText,
  feed: (input) => {
    const { files, paths } = readManifest(input.toString("utf8"), "backup.manifest");
    for (const { name, bytes, storedBytes, bundle } of files) {
      const numbers = [bytes, storedBytes, bundle?.id ?? 0, bundle?.offset ?? 0];
      if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0))
        throw new Error(`"${name}" was believed with ${numbers.join(", ")}`);
      if (`/${name}/`.includes("/../")) throw new Error(`"${name}" leads out`);
    }
    for (const { name } of paths) if (`/${name}/`.includes("/../")) throw new Error(`"${name}" leads out`);
  },
  declared: [PgBackRestError],
};

/** Of the long list of files every twentieth. */
function shortened(bytes: Uint8Array): Uint8Array {
  const lines = Buffer.from(bytes).toString("utf8").split("\n");
  const kept = lines.filter((line, index) => !line.startsWith("pg_data/") || index % 20 === 0);
  return Buffer.from(kept.join("\n"));
}

class Refused extends Error {}

const REPORT: Report = {
  ...{
    name: "node-a",
    region: "fra",
    priority: 100,
    eligible: true,
    incarnation: "00".repeat(8),
    build: "1",
  },
  ...{ upSeconds: 17, systemId: "7412345678901234567", volume: "v1", standing: "primary", accepting: true },
  ...{ epoch: 16, timeline: 2, recordEnd: parseLsn("0/3000028"), replayed: parseLsn("0/3000028") },
  ...{ durable: parseLsn("0/3000000"), streaming: false, primary: { name: "node-a", heardAgoMs: 0 } },
  ...{ gateForMs: null, storeAgoMs: 20 },
} as Report;

const report: FuzzTarget = {
  name: "report",
  corpus: async () =>
    [REPORT, { ...REPORT, primary: null, durable: null }].map((each) => Buffer.from(formatReport(each))),
  mutate: mutateJson,
  feed: (input) => {
    const read = parseReport(input.toString("utf8"));
    if (read === null) throw new Refused();
    if (parseReport(formatReport(read)) === null) throw new Error("what was printed is not read again");
    if (read.systemId !== null) BigInt(read.systemId);
  },
  declared: [Refused],
};

const roster: FuzzTarget = {
  name: "roster",
  corpus: async () =>
    [
      { format: 1, epoch: 16, members: ["a", "b"], leader: null, inSync: null, isPaused: false },
      {
        ...{ format: 1, epoch: 32, members: ["a", "b"], isPaused: true },
        ...{ leader: { name: "a", volume: "v" }, inSync: [{ name: "b", volume: "w" }] },
      },
    ].map((each) => Buffer.from(JSON.stringify(each))),
  mutate: mutateJson,
  feed: (input) => {
    const read = parseRoster(input.toString("utf8"));
    if (read === null) throw new Refused();
    if (!Number.isSafeInteger(read.epoch) || read.epoch < 0)
      throw new Error(`epoch ${read.epoch} was believed`);
  },
  declared: [Refused],
};

/** Lines of the local socket; each verb reads its own words. */
const lines: FuzzTarget = {
  name: "local-lines",
  corpus: async () =>
    [
      "archive 000000010000000000000001 pg_wal/000000010000000000000001",
      'call {"verb":"restore","fields":{"time":"2026-11-24 12:00:00+00"},"confirmed":true}',
      "hook validate 7 node-a 1 x 2026",
      "cluster status --json",
    ].map((line) => Buffer.from(line)),
  mutate: mutateText,
  feed: (input) => {
    const { verb, args } = parseRequest(input.toString("utf8"));
    parseHook(args);
    const answer = formatAnswer({ lines: [verb, ...args], exit: 7 });
    const ends = answer.split("\n").filter((line) => line.startsWith("exit "));
    if (ends.length !== 1) throw new Error("an answer ends twice");
  },
  declared: [],
};

const daemon: FuzzTarget = {
  name: "daemon-protocol",
  corpus: async () =>
    (
      [
        { kind: "check" },
        { kind: "push", name: "00000001000000000000000A" },
        { kind: "fetch", name: "00000001000000000000000A", target: "pg_wal/RECOVERYXLOG" },
      ] as const
    ).map(encodeRequest),
  mutate: mutateBytes,
  feed: (input) => void decodeRequest(input),
  declared: [ProtocolError],
};

export const wireTargets: readonly FuzzTarget[] = [info, manifest, report, roster, lines, daemon];
