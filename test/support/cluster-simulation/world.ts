// A cluster under virtual time. Faults it knows: kills, pauses, cut links between nodes and to the store, store outages, names that do
// not resolve, connections closed for no reason, slow messages, clocks of different speed, lost replies of the store, switchovers.

import { TIMERS, type Timers } from "../../../src/cluster/timers.ts";
import type { Rules } from "../../../src/cluster/mind-types.ts";
import { type Random, below, makeRandom } from "../random.ts";
import { EventQueue } from "./event-queue.ts";
import { type Branch, type Position, contains } from "./history.ts";
import { SimulatedNode } from "./simulated-node.ts";
import { SimulatedStore } from "./simulated-store.ts";

export type Durability = "async" | "standby" | "bucket";

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly durability: Durability;
  readonly policy: "strict" | "bounded";
  readonly rules: Rules;
  readonly timers?: Timers;
}

/** A broken promise. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export class World {
  readonly queue = new EventQueue();
  readonly random: Random;
  readonly timers: Timers;
  readonly root: Branch = { id: 0, parent: null, fork: 0 };
  readonly store: SimulatedStore;
  readonly nodes: readonly SimulatedNode[];
  readonly durability: Durability;
  readonly policy: "strict" | "bounded";
  readonly rules: Rules;
  readonly trace: string[] = [];
  readonly acked = new Map<number, { branch: Branch; lsn: number; atMs: number }>();
  /** The node whose doors opened last, and everything that counts about it. */
  leader: { node: SimulatedNode; branch: Branch; openedMs: number } | null = null;
  promotions = 0;
  lostVolumes = 0;
  storeIsAway = false;
  /** No fault ever touched the store: then the default mode's bound is checked too. */
  storeWasSound = true;
  lastAckMs = 0;
  #branches = 0;

  constructor(options: WorldOptions) {
    this.random = makeRandom(options.seed);
    this.durability = options.durability;
    this.policy = options.policy;
    this.rules = options.rules;
    this.timers = options.timers ?? { ...TIMERS, forgetMs: 600_000, degradeMs: 2_500 };
    this.store = new SimulatedStore(this.root);
    const names = Array.from({ length: options.nodes }, (_unused, index) => `n${index + 1}`);
    const elsewhere = options.nodes > 2 && this.random() < 0.3 ? names.at(-1) : null;
    this.nodes = names.map((name, index) => new SimulatedNode(this, name, index, names, name !== elsewhere));
    this.store.roster = {
      format: 1,
      epoch: -1,
      members: names,
      leader: null,
      inSync: this.isSynchronous ? [] : null,
      isPaused: false,
    };
    for (const node of this.nodes)
      node.boot(node.index === 0 ? "contender" : "standby", below(this.random, 1500));
  }

  get isSynchronous(): boolean {
    return this.durability === "standby";
  }

  say(line: string): void {
    this.trace.push(`${(this.queue.now / 1000).toFixed(3).padStart(8)} ${line}`);
  }

  fail(sentence: string): never {
    this.say(`VIOLATION ${sentence}`);
    throw new Violation(sentence);
  }

  between(least: number, most: number): number {
    return least + this.random() * (most - least);
  }

  /** One way over the network: mostly fast, now and then slow. */
  delayMs(): number {
    return this.random() < 0.01 ? this.between(50, 500) : this.between(0.1, 3);
  }

  newBranch(parent: Branch, fork: number): Branch {
    this.#branches += 1;
    return { id: this.#branches, parent, fork };
  }

  areLinked(a: SimulatedNode, b: SimulatedNode): boolean {
    return !a.cutFrom.has(b.name) && !b.cutFrom.has(a.name);
  }

  /** Is there another copy that holds everything acknowledged? A degraded primary's volume is the only one, and says so. */
  hasOtherHolder(node: SimulatedNode): boolean {
    const { roster } = this.store;
    if (roster === null || roster.inSync === null) return true;
    const holders = [...roster.inSync, ...(roster.leader === null ? [] : [roster.leader])];
    return holders.some(({ name }) => name !== node.name);
  }

  run(untilMs: number, isDone: () => boolean = () => false): boolean {
    let steps = 0;
    while (this.queue.step(untilMs)) {
      steps += 1;
      if (steps % 64 === 0 && isDone()) return true;
    }
    return isDone();
  }

  // ---- what must always hold ------------------------------------------------------------------------

  onPromoted(node: SimulatedNode): void {
    this.promotions += 1;
    if (!node.isEligible && !node.wasHandedOver)
      this.fail(`${node.name} was promoted against the region rule`);
    // A candidate that was fenced meanwhile never opens its doors.
    if (this.store.isOwner(node.mind?.epoch ?? -1)) this.#checkHoldsAcknowledged(node, "was promoted");
    const leader = this.leader?.node;
    if (leader === undefined || leader === node || node.wasHandedOver) return;
    const isHealthy =
      leader.isServing && leader.mind?.doors.kind === "open" && this.queue.now - leader.quietSinceMs > 3_000;
    // Who opened a moment ago was not asked since.
    const isKnown = this.queue.now - this.leader!.openedMs > 500;
    const isSeen = isKnown && this.areLinked(leader, node) && this.queue.now - node.quietSinceMs > 3_000;
    if (isHealthy && isSeen)
      this.fail(`${node.name} was promoted although it could see that ${leader.name} leads`);
  }

  onDoorsOpen(node: SimulatedNode): void {
    const isSame = this.leader?.node === node && this.leader.branch.id === node.position.branch.id;
    this.say(`${node.name} opens its doors on branch ${node.position.branch.id}`);
    if (!isSame) this.#checkHoldsAcknowledged(node, "opened its doors");
    if (!isSame && this.durability === "async" && this.storeWasSound) this.#checkLossBound(node);
    this.leader = { node, branch: node.position.branch, openedMs: this.queue.now };
  }

  onAcknowledged(node: SimulatedNode, position: Position): void {
    const { leader } = this;
    if (leader !== null && leader.node !== node) {
      const isResuming = this.queue.now - node.resumedMs <= RESUME_GRACE_MS;
      const isSafe = this.durability !== "async" && contains(leader.node.position, position);
      if (!isSafe && !(isResuming && this.durability === "async"))
        this.fail(
          `${node.name} acknowledged ${position.lsn} on branch ${position.branch.id} after ${leader.node.name} opened its doors`,
        );
      if (isResuming && this.durability === "async") return; // lost, as the documents say
    }
    const known = this.acked.get(position.branch.id);
    if (known === undefined || known.lsn < position.lsn)
      this.acked.set(position.branch.id, { ...position, atMs: this.queue.now });
    this.lastAckMs = this.queue.now;
  }

  #checkHoldsAcknowledged(node: SimulatedNode, what: string): void {
    if (this.durability === "async") return;
    for (const position of this.acked.values()) {
      if (contains(node.position, position)) continue;
      this.fail(
        `${node.name} ${what} at ${node.position.lsn} on branch ${node.position.branch.id} without ${position.lsn} on branch ${position.branch.id}, which was acknowledged`,
      );
    }
  }

  /** By default at most a flush interval and a PUT are lost. */
  #checkLossBound(node: SimulatedNode): void {
    const old = this.leader;
    if (old === null || old.node === node) return;
    const late = old.node.oldestMissing(node.position);
    if (late !== null && old.node.lastAckMs - late > LOSS_MS)
      this.fail(`${node.name} leads without a commit that was ${old.node.lastAckMs - late} ms old`);
  }
}

/** A paused primary that resumes may acknowledge for so long in the default mode, until its watcher acts. */
const RESUME_GRACE_MS = 100;
/** Flush interval, a slow PUT, its retry. */
const LOSS_MS = 2_500;
