// `holdfast drill`: restores into a scratch folder, starts a server on it, checks it, and throws it away. The archive is only read.

import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ArchiveSource } from "../../archive/archive-source.ts";
import { RestoreCommand } from "../../archive/restore-command.ts";
import { fetchBackup, type FetchResult } from "../../backup/fetch.ts";
import { type OsUser, postgresUser } from "../../postgres/os-user.ts";
import { findPrograms, type Programs } from "../../postgres/programs.ts";
import { orderOf, type ReplayOrder } from "../../recovery/replay-order.ts";
import { planRestore } from "../../recovery/plan.ts";
import { readArchive, readPlanFacts } from "../../recovery/read-archive.ts";
import { describeTarget, parseRequest, type RestoreRequest } from "../../recovery/target.ts";
import { argumentCount, type Call, type WalgCommand } from "../walg/command.ts";
import { listenForClients } from "../walg/daemon.ts";
import { REPLY } from "../walg/daemon-protocol.ts";
import { checkDatabase, type DrillCheck } from "./drill-checks.ts";
import { type RecoveryPoint, recoverScratch } from "./drill-server.ts";

export const DRILL: WalgCommand = {
  path: "drill",
  summary:
    "Restores the newest backup and all WAL into a scratch folder, starts it, checks it, and says what it found",
  use: "drill",
  examples: [
    "holdfast drill --json",
    "holdfast drill --target-time '2026-11-24 12:00:00+00' --query 'select count(*) from orders'",
  ],
  flags: [
    {
      name: "backup",
      kind: "string",
      usage: "Backup to begin with (default: the newest that reaches the target)",
    },
    {
      name: "directory",
      kind: "string",
      usage: "Folder in which the scratch folder is made (default: the system's for temporary files)",
    },
    { name: "exclusive", kind: "bool", usage: "End before the target" },
    { name: "json", kind: "bool", usage: "Print the result as JSON" },
    { name: "quick", kind: "bool", usage: "Leave out amcheck and page checksums" },
    { name: "query", kind: "string", usage: "Run this query on the restored database and print its answer" },
    { name: "target-immediate", kind: "bool", usage: "End as soon as the backup is consistent" },
    { name: "target-lsn", kind: "string", usage: "End at this LSN" },
    { name: "target-name", kind: "string", usage: "End at this restore point" },
    { name: "target-time", kind: "string", usage: "End at this time" },
    { name: "target-timeline", kind: "string", usage: "Follow this timeline (default: the newest)" },
    { name: "target-xid", kind: "string", usage: "End at this transaction" },
  ],
  only: "holdfast",
  check: argumentCount(0, 0),
  run: drill,
};

interface DrillResult {
  readonly backup: string;
  readonly target: string;
  readonly point: RecoveryPoint;
  readonly bytes: number;
  readonly checks: readonly DrillCheck[];
  readonly seconds: { readonly fetch: number; readonly replay: number; readonly check: number };
  readonly answer: string | null;
}

async function drill(call: Call): Promise<number> {
  const { flags, print } = call;
  const user = await postgresUser(process.getuid?.());
  const programs = await findPrograms(call.settings.text("PG_BIN") ?? null);
  const root = await scratchRoot(flags.text("directory") ?? tmpdir(), user);
  try {
    const result = await performDrill(call, root, programs, user);
    const isGood = result.checks.every(({ ok }) => ok);
    print(
      flags.isOn("json") ? `${JSON.stringify(jsonOf(result, isGood), null, 2)}\n` : textOf(result, isGood),
    );
    return isGood ? 0 : 1;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function scratchRoot(parent: string, user: OsUser | null): Promise<string> {
  await mkdir(parent, { recursive: true });
  const root = await mkdtemp(join(parent, "holdfast-drill-"));
  if (user !== null) await chown(root, user.uid, user.gid);
  await chmod(root, 0o700);
  return root;
}

async function performDrill(
  call: Call,
  root: string,
  programs: Programs,
  user: OsUser | null,
): Promise<DrillResult> {
  const { clock, log, signal, flags } = call;
  const request = requestOf(call);
  const source = await sourceOf(call);
  const archive = await readArchive(source, request.timeline, signal);
  const nowUs = BigInt(Math.round(clock.now())) * 1000n;
  const plan = planRestore(request, await readPlanFacts(archive, request, nowUs, signal));
  log.info("drill: restoring", {
    backup: plan.backup.name,
    target: describeTarget(request.target),
    bytes: plan.bytes,
  });
  const begunMs = clock.monotonicMs();
  const fetched = await fetchScratch(call, root, plan.backup.name, programs, user);
  const fetchedMs = clock.monotonicMs();
  const order = orderOf(plan, archive, true);
  const scratch = { root, dataDirectory: join(root, "data"), programs, user };
  return await withWal(call, order, root, user, async (restoreCommand) => {
    await using server = await recoverScratch(scratch, order, restoreCommand, call);
    const replayedMs = clock.monotonicMs();
    const point = await server.recoveryPoint();
    log.info("drill: recovered", { lsn: point.lsn, time: point.time });
    const query = flags.text("query");
    const answer = query === undefined ? null : await server.ask(query);
    const checks = await checkDatabase(server, scratch, flags.isOn("quick"), call);
    const seconds = (from: number, to: number): number => Math.round((to - from) / 100) / 10;
    return {
      backup: fetched.name,
      target: describeTarget(request.target),
      point,
      bytes: plan.bytes,
      checks,
      answer,
      seconds: {
        fetch: seconds(begunMs, fetchedMs),
        replay: seconds(fetchedMs, replayedMs),
        check: seconds(replayedMs, clock.monotonicMs()),
      },
    };
  });
}

function requestOf({ flags }: Call): RestoreRequest {
  return parseRequest({
    time: flags.text("target-time"),
    lsn: flags.text("target-lsn"),
    xid: flags.text("target-xid"),
    name: flags.text("target-name"),
    immediate: flags.isOn("target-immediate"),
    inclusive: !flags.isOn("exclusive"),
    timeline: flags.text("target-timeline"),
    backup: flags.text("backup"),
  });
}

async function sourceOf(call: Call): Promise<ArchiveSource> {
  const { cipher, compression } = await call.openCodec();
  const { clock, log, settings } = call;
  return {
    store: await call.openStore(),
    cipher,
    likely: compression.method,
    clock,
    log,
    segmentBytes: settings.segmentBytes,
    systemId: null,
    magic: null,
  };
}

/** Tablespaces go below the scratch folder, never to where the source had them. */
async function fetchScratch(
  call: Call,
  root: string,
  name: string,
  programs: Programs,
  user: OsUser | null,
): Promise<FetchResult> {
  return fetchBackup(
    {
      backup: { kind: "name", name },
      directory: join(root, "data"),
      tablespaces: { kind: "below", root: join(root, "tablespaces") },
      mask: null,
      only: [],
      concurrency: 2,
      serverMajor: programs.major,
      owner: user,
    },
    { ...call, store: await call.openStore(), cipherKey: await call.openKey() },
  );
}

/** Serves the WAL of the path on a socket while `work` runs; `work` gets the restore_command that asks there. */
async function withWal<T>(
  { signal, log }: Call,
  order: ReplayOrder,
  root: string,
  user: OsUser | null,
  work: (restoreCommand: string) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const command = new RestoreCommand({
    source: order.source,
    target: order.path,
    situation: "restore",
    dataDirectory: join(root, "data"),
    spool: join(root, "prefetch"),
    signal: AbortSignal.any([signal, over.signal]),
  });
  const path = join(root, "wal.sock");
  await using _ = await listenForClients(
    path,
    async (asked) => {
      if (asked.kind !== "fetch") return REPLY.error;
      const { exit } = await command.answer({ name: asked.name, path: asked.target }, signal);
      return exit === 0 ? REPLY.ok : exit === 1 ? REPLY.absent : REPLY.error;
    },
    log,
  );
  if (user !== null) await chown(path, user.uid, user.gid);
  try {
    const client = new URL("../../../bin/walg-daemon-client.js", import.meta.url).pathname;
    // 74 is the end of the archive; whatever else went wrong must stop the recovery.
    return await work(
      `"${process.execPath}" "${client}" "${path}" wal-fetch %f %p -timeout 600s; s=$?; [ $s = 0 ] || { [ $s = 74 ] && exit 1; exit 255; }`,
    );
  } finally {
    over.abort(new Error("the drill is over"));
    await command.close();
  }
}

function jsonOf(result: DrillResult, isGood: boolean): unknown {
  const { seconds } = result;
  return {
    verdict: isGood ? "ok" : "faults",
    backup: result.backup,
    target: result.target,
    recovery_point: result.point,
    bytes: result.bytes,
    checks: result.checks,
    answer: result.answer,
    seconds: { ...seconds, total: Math.round((seconds.fetch + seconds.replay + seconds.check) * 10) / 10 },
  };
}

function textOf({ backup, target, point, checks, seconds, answer }: DrillResult, isGood: boolean): string {
  const lines = [
    `backup          ${backup}`,
    `target          ${target}`,
    `recovery point  ${point.lsn} on timeline ${point.timeline}${point.time === null ? "" : `, last commit ${point.time}`}`,
    ...checks.map(
      ({ name, ok, detail }) =>
        (ok ? "ok" : "FAULT").padEnd(16) + `${name}${detail === "" ? "" : `: ${detail}`}`,
    ),
    `took            ${seconds.fetch} s fetch, ${seconds.replay} s replay, ${seconds.check} s checks`,
    ...(answer === null ? [] : [`answer          ${answer}`]),
    `verdict         ${isGood ? "ok" : "FAULTS"}`,
  ];
  return `${lines.join("\n")}\n`;
}
