// What a WAL-G command works with, opened from its settings when it is first needed.

import { AppError } from "../../base/errors.ts";
import type { CommandContext } from "../commands.ts";
import { readStoreSettings } from "../settings.ts";
import { openKeyedCodec, settingsWorld } from "../wiring.ts";
import type { Call, FlagValues, ServerPosition, Settings } from "./command.ts";
import { memberNamed, openStorages, openTarget, environmentOfStore } from "./storages.ts";

/** Replacements for parts of the outside world. */
export interface SessionTools {
  readonly writeError?: (text: string) => void;
  readonly askPosition?: () => Promise<ServerPosition>;
}

/** The parts of a call that are opened late. */
export function openSession(
  settings: Settings,
  flags: FlagValues,
  context: CommandContext,
  log: Call["log"],
  tools: SessionTools,
): Pick<Call, "openStore" | "openMembers" | "openAllMembers" | "openCodec" | "openKey" | "askPosition"> {
  const storage = { clock: context.clock, log };
  const asked = flags.text("target-storage") ?? flags.text("target") ?? settings.text("WALG_TARGET_STORAGE");
  const keyed = once(async () =>
    openKeyedCodec(readStoreSettings(environmentOfStore(settings.env), settingsWorld).codec),
  );
  return {
    openStore: once(() => openTarget(settings, asked, storage)),
    openMembers: once(async () => {
      const members = await openStorages(settings, storage);
      return asked === undefined || asked === "all" ? members : [memberNamed(members, asked)];
    }),
    openAllMembers: once(() => openStorages(settings, storage)),
    openCodec: async () => (await keyed()).codec,
    openKey: async () => (await keyed()).cipherKey,
    askPosition: tools.askPosition ?? (() => askServer(settings, context.signal)),
  };
}

async function askServer(settings: Settings, signal: AbortSignal): Promise<ServerPosition> {
  const { serverOf } = await import("./server.ts");
  const { withSql } = await import("../../postgres/sql.ts");
  const { serverFacts, walPositions } = await import("../../postgres/queries.ts");
  return withSql(await serverOf(settings), async (sql) => {
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

/** Calls `open` at most once. */
function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opened: Promise<T> | null = null;
  return () => (opened ??= open());
}
