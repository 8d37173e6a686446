// One seed from the first boot to the end: faults, then quiet, then a primary and its standbys must be there.

import type { Rules } from "../../../src/cluster/mind-types.ts";
import { type Fault, scheduleFaults } from "./faults.ts";
import { type Durability, Violation, World } from "./world.ts";
import { makeRandom, below } from "../random.ts";

export interface Outcome {
  readonly seed: number;
  readonly violation: string | null;
  readonly trace: readonly string[];
  readonly promotions: number;
}

/** What a seed does not decide: a planted bug is looked for where it can show. */
export interface Focus {
  readonly nodes?: number;
  readonly durability?: Durability;
  readonly policy?: "strict" | "bounded";
  readonly faults?: readonly Fault[];
}

/** Runs a seed; the seed decides the number of nodes, the mode and the faults. */
export function runSeed(seed: number, rules: Rules, focus: Focus = {}): Outcome {
  const random = makeRandom(seed ^ 0x5eed);
  const drawn = (["async", "standby", "bucket"] satisfies Durability[])[below(random, 3)]!;
  const durability = focus.durability ?? drawn;
  const policy = focus.policy ?? (random() < 0.5 ? "strict" : "bounded");
  const nodes = focus.nodes ?? 2 + below(random, 4);
  const world = new World({ seed, nodes, durability, policy, rules });
  world.say(`seed ${seed}: ${nodes} nodes, ${durability} ${policy}`);
  try {
    scheduleFaults(world, FAULTS_MS, focus.faults ?? null);
    world.run(FAULTS_MS + HEAL_MS);
    world.say("all faults are over");
    expectRecovery(world);
    return { seed, violation: null, trace: world.trace, promotions: world.promotions };
  } catch (error) {
    const sentence = error instanceof Violation ? error.message : String((error as Error).stack);
    return { seed, violation: sentence, trace: world.trace, promotions: world.promotions };
  }
}

/** Within a bounded time a primary acknowledges, everybody else follows it, and where the mode asks somebody may take over. */
function expectRecovery(world: World): void {
  const limitMs = world.queue.now + RECOVERY_MS;
  const isWhole = (): boolean => {
    const primary = world.nodes.find((node) => node.isServing && node.isOpen);
    if (primary === undefined || world.queue.now - world.lastAckMs > 1_000) return false;
    const others = world.nodes.filter((node) => node !== primary);
    const needsHeir = world.isSynchronous && others.some(({ isEligible }) => isEligible);
    if (needsHeir && (primary.mind?.roster?.inSync ?? []).length === 0) return false;
    return others.every((node) => node.upstream?.node === primary);
  };
  if (world.run(limitMs, isWhole)) return;
  const states = world.nodes.map(
    (node) =>
      `${node.name} ${node.mind?.standing ?? "down"} at ${node.position.lsn}: ${node.mind?.because} (${node.postgres}, doors ${node.mind?.doors.kind})`,
  );
  world.fail(`no whole cluster ${RECOVERY_MS} ms after the faults: ${states.join("; ")}`);
}

const FAULTS_MS = 40_000;
/** The longest fault, and the start after it. */
const HEAL_MS = 13_000;
const RECOVERY_MS = 60_000;
