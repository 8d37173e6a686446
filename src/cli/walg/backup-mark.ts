// `wal-g backup-mark`: protects a backup and all that it is built on from deletion, or takes the protection away.

import { planMark, writeMark } from "../../backup/mark.ts";
import { readBackupFacts } from "../../backup/read-facts.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";

export const BACKUP_MARK: WalgCommand = {
  path: "backup-mark",
  summary: "Marks a backup permanent or impermanent",
  use: "backup-mark backup_name",
  examples: [
    "wal-g backup-mark base_000000010000000000000007",
    "wal-g backup-mark --impermanent base_000000010000000000000007",
  ],
  flags: [{ name: "impermanent", short: "i", kind: "bool", usage: "Marks a backup impermanent" }],
  check: argumentCount(1, 1),
  run: markBackup,
};

async function markBackup(call: Call): Promise<number> {
  const { args, flags, log, settings, signal } = call;
  const permanent = !flags.isOn("impermanent");
  const store = await call.openStore();
  log.info(`Retrieving previous related backups to be marked: toPermanent=${permanent}`);
  const backups = await readBackupFacts(store, settings.segmentBytes, signal);
  if (!permanent) log.info("retrieving permanent objects");
  const plan = planMark(args[0]!, permanent, backups, `${store.name.replace(/^file:\/\//, "")}/`);
  if (plan.isAlready) {
    log.warn(
      `Backup ${args[0]} is already marked as ${permanent ? "permanent" : "impermanent"}, ignoring...`,
    );
  }
  log.info(`Retrieved backups to be marked, marking: [${plan.change.join(" ")}]`);
  for (const name of plan.change) await writeMark(name, permanent, store, signal);
  return 0;
}
