// A seed's faults: which, when, for how long; all of them end, and every node that was killed comes back.

import { below } from "../random.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import type { World } from "./world.ts";

/** Begins faults until `untilMs`; everything is healed by `untilMs` + 12 s. */
export function scheduleFaults(world: World, untilMs: number, only: readonly Fault[] | null): void {
  const { random } = world;
  let at = world.between(4_000, 9_000);
  // Some seeds keep the store sound, so that the default mode's bound on the loss can be checked.
  const all = random() < 0.4 ? NODE_FAULTS : [...NODE_FAULTS, ...STORE_FAULTS];
  const kinds = only ?? all;
  while (at < untilMs) {
    const kind = kinds[below(random, kinds.length)]!;
    world.queue.after(at, () => begin(world, kind));
    at += random() < 0.25 ? world.between(10, 1_500) : world.between(3_000, 12_000);
  }
}

export type Fault = (typeof NODE_FAULTS)[number] | (typeof STORE_FAULTS)[number] | "blink";

const NODE_FAULTS = [
  "kill-primary",
  "kill",
  "pause-primary",
  "pause",
  "cut-primary",
  "cut-pair",
  "reset",
  "no-names",
  "switchover",
  "split",
  "lose-volume",
] as const;
const STORE_FAULTS = ["cut-store", "cut-primary-store", "store-away", "isolate-primary", "ambush"] as const;

function begin(world: World, kind: Fault): void {
  const nodes = world.nodes;
  const any = nodes[below(world.random, nodes.length)]!;
  const primary = nodes.find((node) => node.isOpen) ?? any;
  const other = nodes.filter((node) => node !== primary)[below(world.random, nodes.length - 1)]!;
  const forMs = world.random() < 0.5 ? world.between(200, 4_900) : world.between(5_000, 12_000);
  const end = (act: () => void): void => world.queue.after(forMs, act);
  world.say(`fault ${kind} (${primary.name}, ${other.name}) for ${Math.round(forMs)} ms`);
  switch (kind) {
    case "kill-primary":
      return killFor(world, primary, forMs);
    case "kill":
      return killFor(world, any, forMs);
    case "blink":
      primary.pause();
      return world.queue.after(world.between(100, 5_000), () => primary.resume());
    case "pause-primary":
      primary.pause();
      return end(() => primary.resume());
    case "pause":
      any.pause();
      return end(() => any.resume());
    case "cut-primary":
      return cut(
        world,
        [primary],
        nodes.filter((node) => node !== primary),
        forMs,
      );
    case "cut-pair":
      return cut(world, [any], [nodes[(any.index + 1) % nodes.length]!], forMs);
    case "split": {
      const side = nodes.filter(() => world.random() < 0.5);
      return cut(
        world,
        side,
        nodes.filter((node) => !side.includes(node)),
        forMs,
      );
    }
    case "lose-volume": {
      // Two lost copies at once may lose what only they held; that is no promise of theirs.
      const isWhole = nodes.every((node) => node.isUp && !node.isPaused && node.mind?.standing !== "joining");
      if (!isWhole || world.lostVolumes > 0 || !world.hasOtherHolder(any)) return;
      world.lostVolumes += 1;
      any.loseVolume();
      any.quietSinceMs = world.queue.now + forMs;
      return any.boot("joining", forMs);
    }
    case "reset":
      return primary.resetConnection(other);
    case "no-names":
      any.cannotResolve = true;
      return end(() => (any.cannotResolve = false));
    case "switchover":
      return primary.isOpen ? primary.switchOver(other) : undefined;
    case "cut-store":
      return cutStore(world, any, forMs);
    case "cut-primary-store":
      return cutStore(world, primary, forMs);
    case "isolate-primary":
      cutStore(world, primary, forMs);
      return cut(
        world,
        [primary],
        nodes.filter((node) => node !== primary),
        forMs,
      );
    case "ambush":
      return ambush(world, primary, forMs);
    case "store-away":
      world.storeIsAway = true;
      world.storeWasSound = false;
      return end(() => (world.storeIsAway = false));
    default:
  }
}

/**
 * The worst that can happen to the licence: everybody sees the primary close its connections and hears nothing more; the store answers
 * its questions until another fence stands, and none of its writes (so there is no sign of life).
 */
function ambush(world: World, primary: SimulatedNode, forMs: number): void {
  const rest = world.nodes.filter((node) => node !== primary);
  world.storeWasSound = false;
  for (const node of rest) primary.resetConnection(node);
  const lastsMs = Math.max(forMs, 6_000);
  cut(world, [primary], rest, lastsMs);
  primary.isReadOnly = true;
  // As with a container taken off its network: the name is gone, so the last look fails at once.
  for (const node of rest) node.cannotResolve = true;
  const restore = world.store.onFence;
  world.store.onFence = () => {
    if (primary.isReadOnly) primary.cutFrom.add("store");
  };
  world.queue.after(lastsMs, () => {
    world.store.onFence = restore;
    primary.isReadOnly = false;
    for (const node of rest) node.cannotResolve = false;
    primary.cutFrom.delete("store");
    primary.quietSinceMs = world.queue.now;
  });
}

function killFor(world: World, node: SimulatedNode, forMs: number): void {
  if (!node.isUp) return;
  const comesBackAs = node.wasPrimary ? "contender" : "standby";
  node.kill();
  node.quietSinceMs = world.queue.now + forMs;
  node.boot(comesBackAs, forMs);
}

function cut(
  world: World,
  side: readonly SimulatedNode[],
  rest: readonly SimulatedNode[],
  forMs: number,
): void {
  for (const a of side) {
    for (const b of rest) {
      if (a === b) continue;
      a.cutFrom.add(b.name);
      b.cutFrom.add(a.name);
      world.queue.after(forMs, () => {
        a.cutFrom.delete(b.name);
        b.cutFrom.delete(a.name);
        a.quietSinceMs = world.queue.now;
        b.quietSinceMs = world.queue.now;
      });
    }
  }
}

function cutStore(world: World, node: SimulatedNode, forMs: number): void {
  world.storeWasSound = false;
  node.cutFrom.add("store");
  world.queue.after(forMs, () => {
    node.cutFrom.delete("store");
    node.quietSinceMs = world.queue.now;
  });
}
