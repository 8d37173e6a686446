// Is this backup what it says it is? Its description first, then, if asked, every byte of it.

import type { Log } from "../base/log.ts";
import type { Cipher } from "../codec/encryption.ts";
import { parseControlFile } from "../postgres/control-file.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { messageOf } from "../base/errors.ts";
import { formatLsn } from "../wal/lsn.ts";
import { startOfLabel } from "./backup-label.ts";
import { filesMetadataKey, metadataKey, sentinelKey } from "./backup-name.ts";
import { readBackupMetadata } from "./catalog.ts";
import { type LoadedBackup, planFetch, setOf } from "./fetch-plan.ts";
import { BackupFormatError, BackupMissingError } from "./format-error.ts";
import { type Finding, type PartExpectation, type PartReport, verifyPart } from "./verify-part.ts";

export type { Finding } from "./verify-part.ts";

export interface BackupReport {
  readonly name: string;
  readonly findings: readonly Finding[];
  /** Stored bytes that were read; 0 when only the description was looked at. */
  readonly readBytes: number;
  readonly members: number;
  readonly pages: number;
  /** What needs doing is known only when the chain could be followed. */
  readonly isRestorable: boolean;
}

export interface VerifyTools {
  readonly store: Pick<ObjectStore, "name" | "get" | "list">;
  readonly cipher: Cipher;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Read every part back. */
  readonly content: boolean;
  readonly onBytes?: (bytes: number) => void;
}

/** Checks one backup and that all it is built on is there. Throws StoreError when the store does not answer. */
export async function verifyBackup(name: string, tools: VerifyTools): Promise<BackupReport> {
  const { store, signal } = tools;
  let loaded: LoadedBackup;
  const findings: Finding[] = [];
  try {
    const plan = await planFetch(store, name, { filter: null, isPartial: false }, signal);
    loaded = plan.newest;
    for (const fault of plan.warnings)
      findings.push({ object: sentinelKey(name), severity: "warning", fault });
  } catch (error) {
    const finding = findingOf(error, name);
    if (finding === null) throw error;
    return { name, findings: [finding], readBytes: 0, members: 0, pages: 0, isRestorable: false };
  }
  findings.push(...(await checkMetadata(name, tools)));
  const content = tools.content ? await verifyContent(loaded, tools) : NOTHING_READ;
  findings.push(...content.findings);
  return {
    name,
    ...content,
    findings,
    isRestorable: !findings.some(({ severity }) => severity === "error"),
  };
}

async function checkMetadata(name: string, { store, signal }: VerifyTools): Promise<readonly Finding[]> {
  const needed = "lists with details, marks and deltas need it, a restore does not";
  try {
    if ((await readBackupMetadata(store, name, signal)) !== null) return [];
    return [{ object: metadataKey(name), severity: "warning", fault: `is missing: ${needed}` }];
  } catch (error) {
    const finding = findingOf(error, name);
    if (finding === null) throw error;
    return [{ ...finding, severity: "warning", fault: `${finding.fault}: ${needed}` }];
  }
}

const NOTHING_READ = { findings: [] as readonly Finding[], readBytes: 0, members: 0, pages: 0 };

function findingOf(error: unknown, name: string): Finding | null {
  if (error instanceof BackupFormatError) {
    return { object: error.object, severity: "error", fault: error.fault };
  }
  if (error instanceof BackupMissingError) {
    return { object: sentinelKey(name), severity: "error", fault: messageOf(error) };
  }
  return null;
}

type Content = Pick<BackupReport, "findings" | "readBytes" | "members" | "pages">;

async function verifyContent(backup: LoadedBackup, tools: VerifyTools): Promise<Content> {
  const findings: Finding[] = [];
  const arrived = new Set<string>();
  let [readBytes, pages] = [0, 0];
  const partTools = {
    ...tools,
    onBytes: (bytes: number): void => {
      readBytes += bytes;
      tools.onBytes?.(bytes);
    },
  };
  const take = (report: PartReport): void => {
    findings.push(...report.findings);
    pages += report.pages;
    for (const member of report.members) arrived.add(member);
  };
  const control = backup.parts.find(({ role }) => role === "control");
  let how: PartExpectation["pages"] = null;
  if (control !== undefined) {
    const report = await verifyPart(control, expectation(backup, control.name, null), partTools);
    take(report);
    how = checkControl(backup, control.key, report, findings);
  }
  const rest = backup.parts.filter((part) => part !== control);
  for (let at = 0; at < rest.length; at += PARALLEL) {
    const reports = await Promise.all(
      rest
        .slice(at, at + PARALLEL)
        .map((part) => verifyPart(part, expectation(backup, part.name, how), partTools)),
    );
    for (const report of reports) {
      take(report);
      if (report.label !== null) checkLabel(backup, report.label, findings);
    }
  }
  if (findings.every(({ severity }) => severity !== "error"))
    findings.push(...missingMembers(backup, arrived));
  return { findings, readBytes, members: arrived.size, pages };
}

function expectation(
  { files }: LoadedBackup,
  part: string,
  pages: PartExpectation["pages"],
): PartExpectation {
  const listed = setOf(part, files.tarFileSets);
  return {
    files,
    listed: listed === undefined ? null : new Set(listed.map((name) => `/${name.replace(/^\/+/, "")}`)),
    pages,
  };
}

/** The control file tells of the cluster and whether pages carry checksums. */
function checkControl(
  { sentinel }: LoadedBackup,
  key: string,
  { controlFile }: PartReport,
  findings: Finding[],
): PartExpectation["pages"] {
  if (controlFile === null) return null;
  try {
    const control = parseControlFile(controlFile);
    if (sentinel.systemIdentifier !== null && control.systemId !== sentinel.systemIdentifier) {
      findings.push({
        object: key,
        severity: "error",
        fault: `is of system ${control.systemId}, the sentinel of ${sentinel.systemIdentifier}`,
      });
    }
    const [{ startLsn: start, finishLsn: finish }, { redo, checkpoint }] = [sentinel, control];
    if ((start !== null && redo < start) || (finish !== null && checkpoint > finish)) {
      const fault = `has its checkpoint at ${formatLsn(checkpoint)}, outside of the backup`;
      findings.push({ object: key, severity: "error", fault });
    }
    if (control.checksumVersion === 0 || sentinel.startLsn === null) return null;
    return { from: sentinel.startLsn, segmentBlocks: control.relationSegmentBlocks };
  } catch (error) {
    findings.push({ object: key, severity: "error", fault: messageOf(error) });
    return null;
  }
}

function checkLabel({ name, sentinel }: LoadedBackup, label: string, findings: Finding[]): void {
  const start = startOfLabel(label);
  const object = `${sentinelKey(name)} backup_label`;
  if (start === null) {
    findings.push({ object, severity: "error", fault: "the label names no start" });
    return;
  }
  if (sentinel.startLsn === null || start === sentinel.startLsn) return;
  const fault = `the label starts at ${formatLsn(start)}, the sentinel at ${formatLsn(sentinel.startLsn)}`;
  findings.push({ object, severity: "error", fault });
}

/** Whatever the list says is stored in this backup must have been seen. */
function missingMembers({ name, files }: LoadedBackup, arrived: ReadonlySet<string>): readonly Finding[] {
  const missing: string[] = [];
  for (const [member, entry] of files.files) {
    if (!entry.isSkipped && !arrived.has(`/${member.replace(/^\/+/, "")}`)) missing.push(member);
  }
  if (missing.length === 0) return [];
  const fault = `lists "${missing[0]}"${missing.length > 1 ? ` and ${missing.length - 1} more members` : ""}, which no part holds`;
  return [{ object: filesMetadataKey(name), severity: "error", fault }];
}

const PARALLEL = 2;
