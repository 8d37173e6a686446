// All schedules of a few processes on one store, up to a number of preemptions: every request waits until the schedule lets it happen, at one
// instant. A schedule is run from the start each time, so the code under test is the production code as it is.

import type { ObjectStore } from "../../src/storage/object-store.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { MemoryStore } from "./memory-store.ts";
import { overriding } from "./log-bench.ts";

export interface Scenario {
  /** Processes by name; each gets the store as it sees it. */
  readonly processes: Readonly<Record<string, (store: ObjectStore) => Promise<void>>>;
  /** Looks at the outcome once nothing is under way; throws when an invariant is broken. */
  readonly check: (memory: MemoryStore) => Promise<void>;
}

export interface Bounds {
  /** How often a process that could go on is left for another. */
  readonly preemptions: number;
  /** How many creates, in all, lose their reply. */
  readonly lostReplies: number;
}

/** One decision: the request let through, and whether its reply is lost. */
interface Choice {
  readonly request: number;
  readonly isLost: boolean;
}

interface Step {
  readonly options: readonly Choice[];
  taken: number;
}

/** Runs every schedule and returns how many there were. An error names the schedule. */
export async function exploreAll(make: () => Scenario, bounds: Bounds): Promise<number> {
  const steps: Step[] = [];
  for (let runs = 1; ; runs += 1) {
    const trace = await runOnce(make(), steps, bounds);
    if (trace !== null) throw new Error(`after ${runs} schedules: ${trace}`);
    // The next schedule: the last step that has another option, and nothing decided behind it.
    while (steps.length > 0 && steps.at(-1)!.taken + 1 >= steps.at(-1)!.options.length) steps.pop();
    if (steps.length === 0) return runs;
    steps.at(-1)!.taken += 1;
  }
}

/** Follows `steps`, then takes the first option at every further step and adds it. Returns what broke, or null. */
async function runOnce(scenario: Scenario, steps: Step[], bounds: Bounds): Promise<string | null> {
  const memory = new MemoryStore();
  const waiting: Request[] = [];
  const trace: string[] = [];
  const failures: unknown[] = [];
  for (const [name, run] of Object.entries(scenario.processes)) {
    run(seenBy(name, memory, waiting)).catch((error: unknown) => failures.push(error));
  }
  let { preemptions, lostReplies } = bounds;
  let last = "";
  for (let at = 0; ; at += 1) {
    await turn();
    if (waiting.length === 0) break;
    const goesOn = waiting.some(({ process }) => process === last);
    if (at === steps.length)
      steps.push({ options: optionsOf(waiting, goesOn ? last : null, preemptions, lostReplies), taken: 0 });
    const step = steps[at]!;
    const { request, isLost } = step.options[step.taken]!;
    const chosen = waiting.splice(request, 1)[0]!;
    if (goesOn && chosen.process !== last) preemptions -= 1;
    if (isLost) lostReplies -= 1;
    last = chosen.process;
    trace.push(`${chosen.process}: ${chosen.what}${isLost ? ", reply lost" : ""}`);
    await chosen.happen(isLost);
  }
  try {
    if (failures.length > 0) throw failures[0];
    await scenario.check(memory);
    return null;
  } catch (error) {
    return `${String(error)}\n${trace.join("\n")}`;
  }
}

function optionsOf(
  waiting: readonly Request[],
  running: string | null,
  preemptions: number,
  lostReplies: number,
): Choice[] {
  const may = waiting
    .map(({ process, canBeLost }, request) => ({ process, canBeLost, request }))
    .filter(({ process }) => running === null || process === running || preemptions > 0)
    .sort((a, b) => Number(b.process === running) - Number(a.process === running));
  return may.flatMap(({ request, canBeLost }) => [
    { request, isLost: false },
    ...(canBeLost && lostReplies > 0 ? [{ request, isLost: true }] : []),
  ]);
}

interface Request {
  readonly process: string;
  readonly what: string;
  readonly canBeLost: boolean;
  happen(isLost: boolean): Promise<void>;
}

function seenBy(process: string, memory: MemoryStore, waiting: Request[]): ObjectStore {
  const ask = <T>(what: string, canBeLost: boolean, effect: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      waiting.push({
        process,
        what,
        canBeLost,
        happen: async (isLost) => {
          const result = await effect();
          if (isLost) reject(new StoreError("unknown", "the reply was lost"));
          else resolve(result);
        },
      });
    });
  return overriding(memory, {
    get: (key) => ask(`get ${key}`, false, () => memory.get(key, ON_ITS_WAY)),
    create: (key, body) => ask(`create ${key}`, true, () => memory.create(key, body, ON_ITS_WAY)),
    delete: (keys) => ask(`delete ${keys.join(" ")}`, false, () => memory.delete(keys, ON_ITS_WAY)),
    list: async function* list(prefix, _signal, options) {
      yield* await ask(`list ${prefix}`, false, async () => {
        const found = [];
        for await (const each of memory.list(prefix, ON_ITS_WAY, options)) found.push(each);
        return found;
      });
    },
  });
}

/** A request that was sent arrives, whatever became of its sender. */
const ON_ITS_WAY = new AbortController().signal;

/** Lets everything run that waits for nothing but its turn. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
