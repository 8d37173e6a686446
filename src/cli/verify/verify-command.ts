// `holdfast verify`: can this archive be restored? The exit status tells the truth: 0 whole, 1 faults.

import { AppError } from "../../base/errors.ts";
import { formatBytes } from "../../base/progress.ts";
import { listBackups } from "../../backup/catalog.ts";
import { type BackupReport, type Finding, verifyBackup } from "../../backup/verify.ts";
import { describeWindow } from "../../recovery/window.ts";
import type { ArchiveSource } from "../../archive/archive-source.ts";
import type { Call, WalgCommand } from "../walg/command.ts";
import { argumentCount } from "../walg/command.ts";
import type { RepairReport } from "./repair.ts";
import { type WalReport, verifyWal } from "./verify-wal.ts";

export const VERIFY: WalgCommand = {
  path: "verify",
  summary: "Checks that what is stored can be restored; exit status 1 when it cannot",
  use: "verify [backup_name...]",
  examples: [
    "holdfast verify                       # is everything there",
    "holdfast verify --content             # reads everything back: hashes, page checksums, WAL records, tail log",
    "holdfast verify --repair              # creates missing segments while a node of the cluster still has them",
    "holdfast verify --json | jq .verdict",
  ],
  flags: [
    { name: "content", kind: "bool", usage: "Read every object back" },
    { name: "json", kind: "bool", usage: "Print the result as JSON" },
    {
      name: "repair",
      kind: "bool",
      usage: "Create missing segments from the log, this node's pg_wal, the server's, or another member's",
    },
  ],
  only: "holdfast",
  check: argumentCount(0, 1000),
  run: verify,
};

/** What a verification found. */
export interface VerifyResult {
  readonly store: string;
  readonly content: boolean;
  readonly backups: readonly BackupReport[];
  readonly wal: WalReport;
  readonly findings: readonly Finding[];
  /** `ok`, or `faults` when at least one error was found. */
  readonly verdict: "ok" | "faults";
}

async function verify(call: Call): Promise<number> {
  const { flags, print, log } = call;
  let result = await verifyAll(call, flags.isOn("content"), call.args);
  let repair: RepairReport | null = null;
  if (flags.isOn("repair")) {
    const { repairSegments } = await import("./repair.ts");
    repair = await repairSegments(call, result.wal);
    log.info(`created ${repair.created.length} missing segments, left ${repair.left.length} as they are`);
    if (repair.created.length > 0) result = await verifyAll(call, flags.isOn("content"), call.args);
  }
  print(
    flags.isOn("json")
      ? `${JSON.stringify(jsonOf(result, repair), printBigint, 2)}\n`
      : textOf(result, repair),
  );
  return result.verdict === "ok" ? 0 : 1;
}

/** Verifies the named backups, or all, and the WAL. */
export async function verifyAll(
  call: Call,
  content: boolean,
  names: readonly string[],
): Promise<VerifyResult> {
  const { settings, signal, log, clock } = call;
  const store = await call.openStore();
  const { cipher, compression } = await call.openCodec();
  const known = (await listBackups(store, signal)).map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new AppError(`there is no backup "${unknown}"`, {
      code: "BACKUP_MISSING",
      hint: "list them with `holdfast backup-list`",
    });
  }
  const backups: BackupReport[] = [];
  for (const name of names.length === 0 ? known : names) {
    log.debug("verifying", { backup: name });
    backups.push(await verifyBackup(name, { store, cipher, log, signal, content }));
  }
  const source: ArchiveSource = {
    store,
    cipher,
    likely: compression.method,
    clock,
    log,
    segmentBytes: settings.segmentBytes,
    systemId: null,
    magic: null,
  };
  const wal = await verifyWal(source, content, signal);
  const findings = unique([
    ...backups.flatMap((backup) => backup.findings),
    ...wal.findings,
    ...verdictFindings(backups, wal),
  ]);
  refuseWrongKey(backups, wal, findings);
  const hasErrors = findings.some(({ severity }) => severity === "error");
  return { store: store.name, content, backups, wal, findings, verdict: hasErrors ? "faults" : "ok" };
}

/** When not one object could be opened, it is the key that is wrong and not the archive. */
function refuseWrongKey(
  backups: readonly BackupReport[],
  wal: WalReport,
  findings: readonly Finding[],
): void {
  const isOpened = wal.records > 0 || backups.some(({ members }) => members > 0);
  const refused = findings.find(({ fault }) =>
    /none of the keys|key does not fit|only a public key/.test(fault),
  );
  if (isOpened || refused === undefined) return;
  throw new AppError(`nothing here can be opened: ${refused.fault}`, {
    code: "WRONG_KEY",
    hint: "check the WALG_LIBSODIUM_… or WALG_PGP_… settings against those of the writer",
  });
}

/** What no single object is to blame for. */
function verdictFindings(backups: readonly BackupReport[], wal: WalReport): readonly Finding[] {
  if (backups.length === 0)
    return [
      { object: "basebackups_005/", severity: "error", fault: "holds no backup: nothing can be restored" },
    ];
  const usable = wal.facts?.window.reaches.filter((reach) => reach.usable).length ?? 0;
  if (wal.facts !== null && usable === 0) {
    return [
      {
        object: "basebackups_005/",
        severity: "error",
        fault: "no backup on the newest timeline has the WAL that makes it consistent",
      },
    ];
  }
  return [];
}

function unique(findings: readonly Finding[]): readonly Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ object, fault }) => {
    const key = `${object}\n${fault}`;
    return !seen.has(key) && Boolean(seen.add(key));
  });
}

function jsonOf(
  { store, content, backups, wal, findings, verdict }: VerifyResult,
  repair: RepairReport | null,
): unknown {
  return {
    verdict,
    store,
    content,
    backups: backups.map(({ name, isRestorable, readBytes, members, pages }) => ({
      name,
      restorable: isRestorable,
      read_bytes: readBytes,
      members,
      pages,
    })),
    wal: {
      timelines: wal.timelines,
      from: wal.from,
      to: wal.to,
      segments: wal.segments,
      records: wal.records,
      window: wal.facts === null ? [] : describeWindow(wal.facts.window),
    },
    findings,
    ...(repair === null ? {} : { repair }),
  };
}

const printBigint = (_key: string, value: unknown): unknown =>
  typeof value === "bigint" ? String(value) : value;

function textOf(
  { store, content, backups, wal, findings, verdict }: VerifyResult,
  repair: RepairReport | null,
): string {
  const lines = [`store     ${store}`];
  for (const backup of backups) {
    const read = content
      ? `, ${backup.members} members and ${backup.pages} pages in ${formatBytes(backup.readBytes)}`
      : "";
    lines.push(`backup    ${backup.name}  ${backup.isRestorable ? "ok" : "FAULTY"}${read}`);
  }
  const path = wal.timelines.length === 0 ? "unknown" : wal.timelines.join(" → ");
  lines.push(
    `wal       timeline ${path}, ${wal.segments} segments${content ? `, ${wal.records} records walked` : ""}`,
  );
  if (wal.facts !== null)
    for (const sentence of describeWindow(wal.facts.window)) lines.push(`          ${sentence}`);
  for (const { severity, object, fault } of findings) lines.push(`${severity.padEnd(9)} ${object}: ${fault}`);
  for (const { segment, from } of repair?.created ?? []) lines.push(`created   ${segment}: from ${from}`);
  for (const { place, because } of repair?.unasked ?? []) lines.push(`unasked   ${place}: ${because}`);
  for (const { segment, because } of repair?.left ?? []) lines.push(`left      ${segment}: ${because}`);
  lines.push(
    `verdict   ${verdict === "ok" ? "ok" : "FAULTS"}${content ? "" : " (names and descriptions; --content reads everything back)"}`,
  );
  return `${lines.join("\n")}\n`;
}
