// `wal-g wal-push`: archive_command. Uploads the file, and beside it other segments that are ready.

import { basename, dirname, resolve } from "node:path";
import { AppError } from "../../base/errors.ts";
import { TARGET_STORAGE } from "./backup-list.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { hasTailLog } from "./st-objects.ts";
import type { WalPushTools } from "./wal-push-file.ts";

export const WAL_PUSH: WalgCommand = {
  path: "wal-push",
  summary: "Uploads a WAL file to storage",
  use: "wal-push wal_filepath",
  examples: ["archive_command = 'wal-g wal-push %p'"],
  flags: [TARGET_STORAGE],
  check: argumentCount(1, 1),
  run: (call) => pushPath(call, resolve(call.args[0]!)),
};

/** Pushes the file at `path` (absolute): through the log's owner where there is a log. Resolves to the exit status. */
export async function pushPath(call: Call, path: string): Promise<number> {
  const { settings } = call;
  const { pushWalFile, withPatience } = await import("./wal-push-file.ts");
  const store = await call.openStore();
  const isOwned = await withPatience("look for a tail log", (signal) => hasTailLog(store, signal), call);
  if (isOwned) return throughSupervisor(call, path);
  const { Markers } = await import("./wal-markers.ts");
  const markers = new Markers(dirname(path), store.name);
  if (await markers.take(path)) return 0;
  const { uploadReady } = await import("./wal-ready.ts");
  const tools = await walPushTools(call);
  const stop = new AbortController();
  const others = uploadReady(path, markers, stop.signal, tools, {
    parallel: Math.max(1, settings.count("WALG_UPLOAD_CONCURRENCY", 16)) - 1,
    most: Math.max(1, settings.count("TOTAL_BG_UPLOADED_LIMIT", 32)) - 1,
    renames: settings.isOn("PG_READY_RENAME"),
  });
  try {
    await pushWalFile(path, tools);
  } finally {
    stop.abort();
    await others;
  }
  return 0;
}

/** The tools of a push by the settings. */
export async function walPushTools(call: Call): Promise<WalPushTools> {
  const { settings, clock, log, signal } = call;
  const metadata = settings.text("WALG_UPLOAD_WAL_METADATA") ?? "NOMETADATA";
  if (metadata === "BULK") log.warn("WALG_UPLOAD_WAL_METADATA=BULK writes nothing here; INDIVIDUAL does");
  return {
    store: await call.openStore(),
    codec: await call.openCodec(),
    segmentBytes: settings.segmentBytes,
    preventsOverwrite:
      settings.text("WALG_PREVENT_WAL_OVERWRITE") === undefined ||
      settings.isOn("WALG_PREVENT_WAL_OVERWRITE"),
    writesMetadata: metadata === "INDIVIDUAL",
    clock,
    log,
    signal,
  };
}

/** On a prefix with a tail log only the log's owner decides; everything else is refused. */
async function throughSupervisor({ settings, log, signal }: Call, path: string): Promise<number> {
  const { callLocally, NoSupervisorError } = await import("../../supervisor/local-client.ts");
  const socket =
    settings.text("HOLDFAST_SOCKET") ??
    `${settings.text("RUN_DIRECTORY") ?? "/run/holdfast"}/supervisor.sock`;
  try {
    const { lines, exit } = await callLocally(socket, `archive ${basename(path)} ${path}`, signal);
    for (const line of lines) log.info(line);
    return exit;
  } catch (error) {
    if (!(error instanceof NoSupervisorError)) throw error;
    throw new AppError(
      "this prefix has a tail log: only its owner archives, and no supervisor answers here",
      {
        code: "TAIL_LOG",
        hint: `run inside the container of the primary (socket "${socket}"), or archive into a prefix of its own`,
      },
    );
  }
}
