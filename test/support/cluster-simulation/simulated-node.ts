// One node of the simulated cluster: the production mind, and a shell around it that stands for Postgres, the streamer and the gate's work.

import { randomUUID } from "node:crypto";
import { Mind } from "../../../src/cluster/mind.ts";
import type { Effect, SynchronousState } from "../../../src/cluster/mind-types.ts";
import type { Report } from "../../../src/cluster/report.ts";
import { lsnOf } from "../../../src/wal/lsn.ts";
import { type Position, contains, shared, timelineOf } from "./history.ts";
import { join, performEffort } from "./simulated-efforts.ts";
import type { World } from "./world.ts";

interface Commit {
  readonly position: Position;
  readonly atMs: number;
}

export class SimulatedNode {
  readonly world: World;
  readonly name: string;
  readonly index: number;
  readonly isEligible: boolean;
  readonly #names: readonly string[];
  readonly #clockRate: number;
  readonly #clockOffset: number;
  /** Names this node cannot exchange a packet with; "store" is one. */
  readonly cutFrom = new Set<string>();
  cannotResolve = false;
  /** The store answers this node's questions and takes none of its writes. */
  isReadOnly = false;
  mind: Mind | null = null;
  /** Counts starts: what an earlier life began does not reach a later one. */
  life = 0;
  isPaused = false;
  #parked: (() => void)[] = [];
  resumedMs = -Infinity;
  /** Since when no fault touched it. */
  quietSinceMs = 0;
  // Postgres and the volume.
  position: Position;
  /** The volume holds a primary's data directory. */
  wasPrimary = false;
  volume = "v0";
  postgres: "down" | "standby" | "primary" = "down";
  isFrozen = false;
  upstream: { readonly node: SimulatedNode; readonly life: number; isCaughtUp: boolean } | null = null;
  wasHandedOver = false;
  configured: readonly string[] = [];
  configuredAt: number | null = null;
  readonly standbys = new Map<string, { life: number; flushed: number }>();
  #waiting: Commit[] = [];
  #commits: Commit[] = [];
  lastAckMs = 0;
  // The streamer.
  settled = 0;
  #putBusy = false;
  #flushedMs = -Infinity;
  readonly #asking = new Map<string, number>();
  readonly #connected = new Map<string, number>();

  constructor(world: World, name: string, index: number, names: readonly string[], isEligible: boolean) {
    this.world = world;
    this.name = name;
    this.index = index;
    this.isEligible = isEligible;
    this.#names = names;
    this.position = { branch: world.root, lsn: 0 };
    this.#clockRate = 1 + world.between(-0.004, 0.004);
    this.#clockOffset = world.between(0, 1e6);
  }

  get clockMs(): number {
    return this.#clockOffset + this.world.queue.now * this.#clockRate;
  }

  /** A process that runs, whatever its role. */
  get isUp(): boolean {
    return this.mind !== null;
  }

  get isServing(): boolean {
    return this.isUp && !this.isPaused && this.postgres === "primary" && !this.isFrozen;
  }

  /** May clients and standbys talk to its Postgres? */
  get isOpen(): boolean {
    return this.postgres === "primary" && this.mind?.doors.kind === "open";
  }

  /** Runs on this life of this node; parked while it is paused. */
  later(ms: number, run: () => void): void {
    const { life } = this;
    this.world.queue.after(ms, () => this.#perform(life, run));
  }

  #perform(life: number, run: () => void): void {
    if (this.life !== life) return;
    if (this.isPaused) this.#parked.push(() => this.#perform(life, run));
    else run();
  }

  // ---- life -----------------------------------------------------------------------------------------

  boot(as: "contender" | "standby" | "joining", afterMs: number): void {
    this.life += 1;
    const { life } = this;
    this.world.queue.after(afterMs, () => {
      if (this.life !== life) return;
      this.mind = new Mind(
        {
          name: this.name,
          region: this.isEligible ? "fra" : "ams",
          priority: 100,
          eligible: this.isEligible,
          incarnation: randomUUID(),
          build: "1",
        },
        this.#names,
        {
          timers: this.world.timers,
          synchronous: this.world.isSynchronous ? this.world.policy : null,
          canFence: true,
        },
        this.world.rules,
        this.local(),
        this.clockMs,
      );
      this.mind.setRoster({
        format: 1,
        epoch: -2,
        members: this.#names,
        leader: null,
        inSync: null,
        isPaused: false,
      });
      this.postgres = as === "standby" ? "standby" : "down";
      this.isFrozen = false;
      this.mind.onBecame({ kind: as }, this.clockMs);
      this.world.say(`${this.name} is up as ${as} at ${this.position.lsn}/${this.position.branch.id}`);
      this.#loop();
      if (as === "joining") join(this);
    });
  }

  kill(): void {
    this.world.say(`${this.name} is killed`);
    this.life += 1;
    this.isPaused = false;
    this.#parked = [];
    this.mind = null;
    this.stopPostgres();
    this.standbys.clear();
    this.#asking.clear();
    this.#connected.clear();
    this.#putBusy = false;
    this.wasHandedOver = false;
    for (const other of this.world.nodes) if (other !== this) other.#onPeerClosed(this);
  }

  /** Killed, and its volume is gone: it will be filled anew. */
  loseVolume(): void {
    this.kill();
    this.world.say(`${this.name} loses its volume`);
    this.volume = `v${this.life}`;
    this.position = { branch: this.world.root, lsn: 0 };
    this.wasPrimary = false;
  }

  pause(): void {
    if (!this.isUp || this.isPaused) return;
    this.world.say(`${this.name} is paused`);
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.world.say(`${this.name} resumes`);
    this.isPaused = false;
    this.resumedMs = this.world.queue.now;
    this.quietSinceMs = this.world.queue.now;
    const parked = this.#parked;
    this.#parked = [];
    // What waited in the kernel is met within a few milliseconds, in any order against the timers.
    for (const run of parked) this.world.queue.after(this.world.between(0, 15), run);
  }

  stopPostgres(): void {
    this.postgres = "down";
    this.isFrozen = false;
    this.#waiting = [];
    this.#commits = [];
    this.upstream = null;
    this.standbys.clear();
    this.configuredAt = null;
  }

  #loop(): void {
    this.#turn();
    const isLeading = this.mind?.standing === "primary" || this.mind?.standing === "candidate";
    this.later(isLeading ? 20 : 50, () => this.#loop());
  }

  #turn(): void {
    const { mind } = this;
    if (mind === null) return;
    if (this.postgres === "standby") this.#connectUpstream();
    mind.setLocal(this.local());
    if (this.postgres === "primary") {
      mind.setSynchronous(this.synchronousState());
      // Read behind the list and the connections it speaks of (CatchUpMark).
      if (this.configured.some((name) => this.standbys.has(name))) this.configuredAt ??= this.position.lsn;
      this.#commit();
      this.#stream();
    }
    this.perform(mind.tick(this.clockMs));
  }

  local(): Parameters<Mind["setLocal"]>[0] {
    const lsn = lsnOf(BigInt(this.position.lsn));
    return {
      systemId: "1",
      volume: this.volume,
      timeline: timelineOf(this.position.branch),
      recordEnd: lsn,
      replayed: lsn,
      durable: null,
      streaming: this.upstream !== null,
      freeBytes: null,
    };
  }

  synchronousState(): SynchronousState {
    return {
      configured: this.configured,
      configuredAt: this.configuredAt === null ? null : lsnOf(BigInt(this.configuredAt)),
      streaming: [...this.standbys].map(([name, { flushed }]) => ({
        name,
        flushed: lsnOf(BigInt(flushed)),
        isSync: this.configured.includes(name),
      })),
    };
  }

  perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === "ask") this.#ask(effect.to);
      else if (effect.kind === "doors") this.#onDoors(effect.doors.kind, effect.doors.because);
      else performEffort(this, effect);
    }
  }

  // ---- asks -----------------------------------------------------------------------------------------

  #ask(to: string): void {
    if (this.#asking.has(to)) return;
    const { world, mind } = this;
    const other = world.nodes.find(({ name }) => name === to);
    if (mind === null || other === undefined) return;
    const sentMs = this.clockMs;
    const isConnected = this.#connected.get(to) === other.life && other.isUp;
    if (!isConnected && this.cannotResolve) {
      mind.onFailure(to, "dns", this.clockMs);
      return;
    }
    const ticket = world.random();
    this.#asking.set(to, ticket);
    const finish = (act: () => void): void => {
      if (this.#asking.get(to) !== ticket) return;
      this.#asking.delete(to);
      act();
    };
    this.later(world.timers.answerMs, () => finish(() => this.mind?.onFailure(to, "timeout", this.clockMs)));
    if (!world.areLinked(this, other)) return;
    const question = mind.report(this.clockMs);
    const arriveMs = world.delayMs();
    if (!other.isUp) {
      this.later(arriveMs, () => finish(() => this.mind?.onFailure(to, "refused", this.clockMs)));
      return;
    }
    other.later(arriveMs, () => {
      if (!world.areLinked(this, other) || other.mind === null) return;
      const answer = other.mind.onAsk(question, other.clockMs);
      this.later(world.delayMs(), () => {
        if (!world.areLinked(this, other)) return;
        this.#connected.set(to, other.life);
        finish(() => this.mind?.onAnswer(to, answer, sentMs, this.clockMs));
      });
    });
  }

  #onPeerClosed(peer: SimulatedNode): void {
    this.standbys.delete(peer.name);
    if (this.upstream?.node === peer) this.upstream = null;
    if (!this.isUp || !this.world.areLinked(this, peer)) return;
    this.later(this.world.delayMs(), () => this.mind?.onClose(peer.name, this.clockMs));
  }

  /** A connection ends for no reason: both sides see a close, and both live. */
  resetConnection(peer: SimulatedNode): void {
    this.#connected.delete(peer.name);
    peer.#connected.delete(this.name);
    this.#onPeerClosed(peer);
    peer.#onPeerClosed(this);
  }

  // ---- Postgres -------------------------------------------------------------------------------------

  #onDoors(kind: "open" | "frozen" | "waiting" | "shut", because: string): void {
    const { world } = this;
    world.say(`${this.name} doors ${kind}: ${because}`);
    if (kind === "open") {
      if (this.isFrozen) this.isFrozen = false;
      world.onDoorsOpen(this);
      return;
    }
    // The act itself takes some milliseconds; a later order overtakes it.
    this.later(world.between(1, 25), () => {
      if (this.mind?.doors.kind === "open") return;
      if (kind === "frozen") this.isFrozen = true;
      if (kind === "shut") this.stopPostgres();
    });
  }

  #commit(): void {
    if (!this.isOpen || this.isFrozen) return;
    const { world } = this;
    if (world.random() > 0.3) return;
    this.position = { branch: this.position.branch, lsn: this.position.lsn + 1 };
    const commit = { position: this.position, atMs: world.queue.now };
    this.#commits.push(commit);
    if (this.#commits.length > 400) this.#commits.splice(0, 200);
    for (const standby of world.nodes) if (this.standbys.has(standby.name)) this.#send(standby);
    if (world.durability === "async" && this.configured.length === 0) this.#acknowledge(commit);
    else this.#waiting.push(commit);
    this.#release();
  }

  #acknowledge(commit: Commit): void {
    this.lastAckMs = this.world.queue.now;
    this.world.onAcknowledged(this, commit.position);
  }

  /** Commits whose condition holds are answered, in order. */
  #release(): void {
    if (this.postgres !== "primary" || this.isFrozen || this.isPaused) return;
    const { world } = this;
    for (;;) {
      const first = this.#waiting[0];
      if (first === undefined) return;
      const { lsn } = first.position;
      if (world.durability === "bucket" && this.settled < lsn) return;
      const lacks = this.configured.some((name) => (this.standbys.get(name)?.flushed ?? -1) < lsn);
      if (lacks) return;
      this.#waiting.shift();
      this.#acknowledge(first);
    }
  }

  #send(standby: SimulatedNode): void {
    const { position, life } = this;
    const standbyLife = standby.life;
    const isSame = (): boolean =>
      standby.upstream?.node === this && standby.upstream.life === life && standby.life === standbyLife;
    standby.later(this.world.delayMs(), () => {
      if (!isSame() || !this.world.areLinked(this, standby) || standby.postgres !== "standby") return;
      if (!standby.upstream!.isCaughtUp) return;
      if (position.branch.id === standby.position.branch.id && position.lsn > standby.position.lsn)
        standby.position = position;
      const flushed = standby.position.lsn;
      this.later(this.world.delayMs(), () => {
        const known = this.standbys.get(standby.name);
        if (known === undefined || known.life !== standbyLife || !this.world.areLinked(this, standby)) return;
        known.flushed = Math.max(known.flushed, flushed);
        this.#release();
      });
    });
  }

  /** The walreceiver's walk over the members: the first that takes writes and whose history holds mine. */
  #connectUpstream(): void {
    const { upstream, world } = this;
    if (upstream !== null) {
      const holds = upstream.node.life === upstream.life && world.areLinked(this, upstream.node);
      // A server that ended and started again knows nothing of the old connection.
      if (holds && upstream.node.postgres === "primary" && upstream.node.standbys.has(this.name)) return;
      upstream.node.standbys.delete(this.name);
      this.upstream = null;
    }
    for (const node of world.nodes) {
      if (node === this || !node.isOpen || node.isPaused || node.isFrozen) continue;
      if (!world.areLinked(this, node)) continue;
      if (!contains(node.position, this.position)) {
        if (node.mind !== null && this.mind?.primary === node.name) {
          this.world.say(`${this.name} holds what ${node.name} does not`);
          this.postgres = "down";
          this.mind.onBecame({ kind: "suspect", because: "its WAL left the history" }, this.clockMs);
        }
        continue;
      }
      // The new timeline's history is read first: the standby is on the path from here on.
      this.position = { branch: node.position.branch, lsn: this.position.lsn };
      const stream = { node, life: node.life, isCaughtUp: false };
      this.upstream = stream;
      node.standbys.set(this.name, { life: this.life, flushed: this.position.lsn });
      node.configuredAt = null;
      // A standby that was away has much to fetch, now and then.
      this.later(world.random() < 0.3 ? world.between(200, 5_000) : 0, () => {
        if (this.upstream !== stream) return;
        stream.isCaughtUp = true;
        if (node.life === stream.life && node.postgres === "primary") node.#send(this);
      });
      return;
    }
  }

  // ---- the streamer ---------------------------------------------------------------------------------

  #stream(): void {
    const { mind, world } = this;
    const epoch = mind?.epoch ?? null;
    if (this.#putBusy || epoch === null || mind?.standing !== "primary" || this.isFrozen) return;
    if (this.position.lsn <= this.settled) return;
    const isDue = world.durability === "bucket" || this.clockMs - this.#flushedMs >= 1_000;
    if (!isDue) return;
    this.#putBusy = true;
    this.#flushedMs = this.clockMs;
    const { position } = this;
    this.storeWrite(
      () => world.store.append(epoch, position.branch, position.lsn),
      (accepted) => {
        this.#putBusy = false;
        if (accepted === null || this.mind?.epoch !== epoch) return;
        if (!accepted) {
          this.mind.onFenced();
          return;
        }
        this.settled = Math.max(this.settled, position.lsn);
        this.#release();
      },
    );
  }

  storeWrite<T>(act: () => T, done: (result: T | null) => void): void {
    if (this.isReadOnly) this.later(50, () => done(null));
    else this.storeCall(act, done);
  }

  /** A request to the store: it may never arrive, be done without an answer, or be answered late. Null: nothing is known. */
  storeCall<T>(act: () => T, done: (result: T | null) => void): void {
    const { world } = this;
    let isDone = false;
    const finish = (result: T | null): void => {
      if (isDone) return;
      isDone = true;
      done(result);
    };
    this.later(STORE_LIMIT_MS, () => finish(null));
    const isReachable = (): boolean => !world.storeIsAway && !this.cutFrom.has("store");
    if (!isReachable()) return;
    const oneWayMs = (): number => (world.random() < 0.02 ? world.between(100, 600) : world.between(2, 30));
    // The request travels although its sender dies or is paused.
    world.queue.after(oneWayMs(), () => {
      if (!isReachable()) return;
      const result = act();
      if (world.random() < 0.005) return;
      this.later(oneWayMs(), () => {
        if (isReachable()) finish(result);
      });
    });
  }

  /** Stop, let the heir take over, turn round: the old primary's side. */
  switchOver(heir: SimulatedNode): void {
    const { mind, world } = this;
    if (mind === null || mind.standing !== "primary" || this.isPaused) return;
    world.say(`${this.name} hands over to ${heir.name}`);
    const epoch = mind.epoch;
    const { position } = this;
    const heirLife = heir.life;
    this.postgres = "down";
    this.#waiting = [];
    mind.onBecame({ kind: "leaving" }, this.clockMs);
    const giveUp = (): void => {
      if (this.mind?.standing === "leaving") this.mind.onBecame({ kind: "contender" }, this.clockMs);
    };
    // Until the heir has answered, nobody knows who leads; then the log does.
    this.later(8_000, giveUp);
    this.storeCall(
      () => epoch !== null && world.store.append(epoch, position.branch, position.lsn),
      (settled) => {
        if (settled !== true) return giveUp();
        this.later(world.between(30, 150), () => {
          const hasAll = heir.position.branch.id === position.branch.id && heir.position.lsn === position.lsn;
          if (!hasAll || !world.areLinked(this, heir) || heir.life !== heirLife) return giveUp();
          heir.later(world.delayMs(), () => {
            const isTaken = heir.mind?.onHandOver(heir.clockMs) ?? false;
            heir.wasHandedOver = isTaken;
            if (!isTaken) this.later(world.delayMs(), giveUp);
          });
        });
      },
    );
  }

  /** When the oldest commit that `position` lacks was made; null when it lacks none. */
  oldestMissing(position: Position): number | null {
    const first = this.#commits.find((commit) => !contains(position, commit.position));
    return first?.atMs ?? null;
  }

  sharedWith(other: Position): Position {
    return shared(this.position, other);
  }

  askNow(other: SimulatedNode, done: (report: Report | null) => void): void {
    let isDone = false;
    const finish = (report: Report | null): void => {
      if (isDone) return;
      isDone = true;
      done(report);
    };
    const isConnected = this.#connected.get(other.name) === other.life && other.isUp;
    if (!other.isUp || (!isConnected && this.cannotResolve)) return this.later(1, () => finish(null));
    this.later(this.world.timers.answerMs, () => finish(null));
    if (!this.world.areLinked(this, other)) return;
    other.later(this.world.delayMs(), () => {
      const report = other.mind?.report(other.clockMs) ?? null;
      this.later(this.world.delayMs(), () => finish(report));
    });
  }
}

const STORE_LIMIT_MS = 1_000;
