// The end of every deletion: shows what is marked and, if confirmed, carries it out.

import { executeDeletion } from "../../backup/delete.ts";
import {
  type DeletePlan,
  type DeletePlanInput,
  listedOrder,
  planBackups,
  unfinishedDeletions,
} from "../../backup/delete-plan.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import type { Call } from "./command.ts";

/** What every deletion looks at first. */
export interface Archive extends DeletePlanInput {
  readonly store: ObjectStore;
}

/** All keys below the prefix. */
export async function readArchiveKeys(
  store: Pick<ObjectStore, "list">,
  signal: AbortSignal,
): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("", signal)) keys.push(key);
  return keys;
}

/** Shows the plan and, if confirmed, carries it out together with what an earlier deletion left undone. */
export async function finish(call: Call, archive: Archive, plan: DeletePlan, below = ""): Promise<number> {
  const { flags, log } = call;
  log.info("Evaluating objects for deletion...");
  const whole = withLeftovers(plan, archive);
  const keys = listedOrder(whole);
  for (const key of keys) {
    const shown = key.startsWith(below) ? key.slice(below.length) : key;
    log.info(`Object marked for deletion: ${shown} storage=default`);
  }
  if (keys.length === 0) log.info("No objects matched the deletion criteria.");
  else if (!flags.isOn("confirm")) {
    log.info(`Dry run: objects would be deleted count=${keys.length}, Run with --confirm to execute`);
  } else {
    const count = await executeDeletion(whole, archive.store, call);
    log.info(`Objects deleted successfully: count=${count}`);
  }
  return 0;
}

function withLeftovers(plan: DeletePlan, archive: Archive): DeletePlan {
  const complete = new Set(archive.backups.map((backup) => backup.name));
  const left = [...unfinishedDeletions(archive.keys)].filter((name) => !complete.has(name));
  const more = planBackups(new Set(left), archive);
  return {
    ...plan,
    objects: [...new Set([...plan.objects, ...more.objects])],
    marks: [...new Set([...plan.marks, ...more.marks])],
  };
}
