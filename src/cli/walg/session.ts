// What a WAL-G command works with, opened from its settings when it is first needed.

import { AppError } from "../../base/errors.ts";
import { Secret } from "../../base/secret.ts";
import { noCipher } from "../../codec/encryption.ts";
import type { Method } from "../../codec/compression.ts";
import type { Codec } from "../../codec/seal.ts";
import type { ServerAddress } from "../../postgres/server-address.ts";
import { serverFacts, walPositions } from "../../postgres/queries.ts";
import { withSql } from "../../postgres/sql.ts";
import { openFolderStore } from "../../storage/folder-store.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import type { CommandContext } from "../commands.ts";
import type { Call, ServerPosition, Settings } from "./command.ts";

/** Replacements for parts of the outside world. */
export interface SessionTools {
  readonly writeError?: (text: string) => void;
  readonly askPosition?: () => Promise<ServerPosition>;
}

/** The parts of a call that are opened late. */
export function openSession(
  settings: Settings,
  context: CommandContext,
  tools: SessionTools,
): Pick<Call, "openStore" | "openCodec" | "askPosition"> {
  return {
    openStore: once(() => openStoreOf(settings)),
    openCodec: once(() => Promise.resolve(codecOf(settings))),
    askPosition: tools.askPosition ?? (() => askServer(settings, context.signal)),
  };
}

async function openStoreOf(settings: Settings): Promise<ObjectStore> {
  const folder = settings.text("WALG_FILE_PREFIX");
  if (folder !== undefined) return openFolderStore(folder.replace(/^file:\/\/(localhost)?/, ""));
  throw new AppError("no storage is configured", {
    code: "NO_STORE",
    hint: "set WALG_S3_PREFIX (s3://bucket/path) or WALG_FILE_PREFIX (a folder), in the environment or a configuration file",
  });
}

function codecOf(settings: Settings): Codec {
  return {
    compression: { method: (settings.text("WALG_COMPRESSION_METHOD") ?? "lz4") as Method },
    cipher: noCipher,
  };
}

async function askServer(settings: Settings, signal: AbortSignal): Promise<ServerPosition> {
  return withSql(serverAddress(settings), async (sql) => {
    const facts = await serverFacts(sql, { signal });
    const positions = await walPositions(sql, { signal });
    const lsn = positions.inserted ?? positions.received ?? positions.replayed;
    if (lsn === null)
      throw new AppError("the server does not tell its position in the WAL", {
        code: "NO_POSITION",
        hint: "give --timeline and --lsn",
      });
    return { timeline: facts.checkpointTimeline, lsn };
  });
}

/** The server of libpq's variables. */
export function serverAddress(settings: Settings): ServerAddress {
  const password = settings.text("PGPASSWORD");
  return {
    host: settings.text("PGHOST") ?? "localhost",
    port: settings.count("PGPORT", 5432),
    user: settings.text("PGUSER") ?? "postgres",
    ...(password === undefined ? {} : { password: new Secret(password) }),
    database: settings.text("PGDATABASE") ?? "postgres",
    applicationName: settings.text("PGAPPNAME") ?? "wal-g",
  };
}

/** Calls `open` at most once. */
function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opened: Promise<T> | null = null;
  return () => (opened ??= open());
}
