// The end of a push, once every file is stored and the server has ended the backup: label, WAL, description, sentinel.

import { cipherOf } from "../codec/encryption.ts";
import type { BackupStop } from "../postgres/backup-session.ts";
import { waitForArchiver } from "./archive-wait.ts";
import type { DatabaseNames } from "./files-metadata.ts";
import { type Nanoseconds, instantOfMs } from "./go-json.ts";
import type { ManifestPart } from "./manifest.ts";
import type { PushResult, PushSettings, PushTools } from "./push.ts";
import type { PushBook } from "./push-book.ts";
import { type FinishTools, pushDescription, pushLabel } from "./push-finish.ts";
import { markChainPermanent } from "./push-permanent.ts";
import { type PushedFacts, sentinelOfPush } from "./push-sentinel.ts";

/** What is known when the server has ended the backup. */
export interface StoppedPush extends Omit<PushedFacts, "settings" | "server" | "parts" | "finishTime"> {
  readonly name: string;
  readonly server: PushedFacts["server"] & {
    readonly segmentBytes: number;
    /** OID to xmin of each database's row. */
    readonly databases: ReadonlyMap<string, string>;
    /** Tells this volume from any other; empty when that is not known. */
    readonly volume: string;
  };
  /** pg_control.tar, which is stored already. */
  readonly control: ManifestPart;
  readonly databases: ReadonlyMap<string, DatabaseNames>;
  /** When the first file was looked at. */
  readonly lookedAt: Nanoseconds;
}

/** What the last objects are written with. */
export async function finishTools(tools: PushTools): Promise<FinishTools> {
  const cipher = await cipherOf(tools.cipherKey);
  return { store: tools.store, codec: { compression: tools.compression, cipher }, signal: tools.signal };
}

/** Stores the label, waits for the WAL to be archived, and writes the description and at last the sentinel. */
export async function completePush(
  push: StoppedPush,
  book: PushBook,
  settings: Pick<
    PushSettings,
    "userData" | "hasFilesMetadata" | "hostname" | "isPermanent" | "archiveTimeoutMs"
  >,
  tools: PushTools,
  finish: FinishTools,
): Promise<PushResult> {
  const { name, server, stop, delta, control, databases, lookedAt } = push;
  const { clock, log, signal } = tools;
  const label = await pushLabel(name, stop, finish);
  book.labels(label.name);
  await (tools.waitForWal ?? defaultWait(push, settings.archiveTimeoutMs, tools))(stop, signal);
  const parts = [...book.parts, control, label];
  const sentinel = sentinelOfPush({ ...push, settings, parts, finishTime: instantOfMs(clock.now()) });
  if (settings.isPermanent && delta !== null) await markChainPermanent(delta.from, tools);
  const files = { files: book.files, tarFileSets: book.tarFileSets, databases, corrupt: book.corrupt };
  const source = { volume: server.volume, lookedAt, databases: server.databases };
  await pushDescription(
    { name, sentinel, files: settings.hasFilesMetadata ? files : null, parts, source },
    finish,
  );
  log.info("backup stored", {
    name,
    parts: parts.length,
    bytes: sentinel.compressedBytes,
    store: tools.store.name,
  });
  return { name, sentinel, parts, corrupt: book.corrupt };
}

function defaultWait(
  { name, server }: StoppedPush,
  timeoutMs: number | null,
  tools: PushTools,
): (stop: BackupStop, signal: AbortSignal) => Promise<void> {
  return (stop, signal) => waitForArchiver(stop, name, server.segmentBytes, timeoutMs, { ...tools, signal });
}
