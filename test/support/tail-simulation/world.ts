// A cluster in virtual time: nodes with volumes that start, stream, crash, are paused, lose or roll back their volumes, promote, restore; all with
// the production modules of the log on one faulty store. Invariants are checked at every effect on the store and at every acknowledgement.

import { messageOf } from "../../../src/base/errors.ts";
import { type Log, silentLog } from "../../../src/base/log.ts";
import { type Random, below, makeRandom } from "../random.ts";
import { WalBuilder } from "../wal-builder.ts";
import { parseLsn } from "../../../src/wal/lsn.ts";
import { rootPath } from "../../../src/wal/timeline-path.ts";
import type { ClusterIdentity } from "../../../src/tail/run.ts";
import { Node } from "./node.ts";
import { Process } from "./process.ts";
import { Server } from "./server.ts";
import { SimulatedStore } from "./simulated-store.ts";
import { Truth } from "./truth.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** Eight pages: everything that can happen in 16 MiB happens in 64 KiB, and sooner. */
export const SEGMENT_BYTES = 1 << 16;
export const WAL_START = parseLsn("0/1000000");
const SYSTEM_ID = 7_123_456_789_012_345_678n;

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Decisions of the director before the finale. */
  readonly actions: number;
  /** Actions that come several times as often as the others. */
  readonly favour?: readonly Action[];
  readonly log?: Log;
}

/** What a run saw, to show that it tested something. */
export interface Tally {
  [event: string]: number;
}

export class InvariantBroken extends Error {
  override readonly name = "InvariantBroken";
}

export class World {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly store: SimulatedStore;
  readonly truth: Truth;
  readonly identity: ClusterIdentity = { systemId: SYSTEM_ID, segmentBytes: SEGMENT_BYTES };
  readonly log: Log;
  readonly tally: Tally = {};
  readonly nodes: Node[];
  readonly #options: WorldOptions;
  /** Machines that run on though another of their name was started. */
  readonly #ghosts: Node[] = [];
  readonly #readers = new Set<Promise<void>>();
  #broken: string | null = null;
  #tokens = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = makeRandom(options.seed);
    this.log = options.log ?? silentLog;
    const fail = (message: string): void => this.fail(message);
    this.truth = new Truth(() => this.store.objects, WAL_START, SEGMENT_BYTES, fail);
    this.store = new SimulatedStore(this.clock, this.random, this.truth);
    this.nodes = Array.from({ length: options.nodes }, (_, i) => new Node(this, `n${i}`));
  }

  fail(message: string): void {
    this.#broken ??= `${message} (at ${this.clock.monotonicMs()} ms)`;
    this.log.error(`BROKEN: ${message}`);
  }

  count(event: string): void {
    this.tally[event] = (this.tally[event] ?? 0) + 1;
  }

  /** 32 hex digits, the same for the same seed. */
  drawToken(): string {
    this.#tokens += 1;
    const digits = (): string =>
      below(this.random, 2 ** 32)
        .toString(16)
        .padStart(8, "0");
    return digits() + digits() + digits() + this.#tokens.toString(16).padStart(8, "0");
  }

  /** Runs everything and throws InvariantBroken with the seed. */
  async run(): Promise<Tally> {
    const check = (): void => {
      if (this.#broken !== null) throw new InvariantBroken(`seed ${this.#options.seed}: ${this.#broken}`);
    };
    try {
      await this.clock.run(this.#direct(), 30 * 24 * 3_600_000, check);
    } catch (error) {
      check();
      throw new InvariantBroken(`seed ${this.#options.seed}: ${messageOf(error)}`, { cause: error });
    }
    check();
    return this.tally;
  }

  async #direct(): Promise<void> {
    const founder = this.nodes[0]!;
    founder.server = new Server({
      wal: new WalBuilder({ segmentBytes: SEGMENT_BYTES, systemId: SYSTEM_ID }),
      path: rootPath(1),
      promotion: this.drawToken(),
      parentPromotion: "0".repeat(32),
    });
    founder.server.wal.record();
    founder.server.flush();
    founder.start();
    // A volume lost before anything was accepted leaves nothing to look at.
    while ((this.truth.tip?.end ?? 0n) < WAL_START + 100n) {
      await this.clock.sleep(1_000);
      founder.start();
    }
    for (let i = 0; i < this.#options.actions; i += 1) {
      await this.clock.sleep(below(this.random, this.random() < 0.2 ? 20_000 : 2_500));
      this.#act();
    }
    await this.#finale();
  }

  #act(): void {
    const { random } = this;
    const node = this.nodes[below(random, this.nodes.length)]!;
    const { favour = [] } = this.#options;
    const choice = favour.length > 0 && random() < 0.5 ? favour : ACTIONS;
    const action = choice[below(random, choice.length)]!;
    this.count(action);
    if (action === "read") this.#readers.add(this.#read());
    else if (action === "trouble") this.store.faults.trouble = random() < 0.5 ? 0.02 : random() * 0.6;
    else if (action === "twin") this.#twin(node);
    else node.act(action);
  }

  #twin(node: Node): void {
    const twin = node.twin();
    if (twin === null) return;
    this.#ghosts.push(node);
    this.nodes[this.nodes.indexOf(node)] = twin;
    this.count("twin made");
  }

  async #read(): Promise<void> {
    const process = new Process("reader", this.clock);
    await this.nodes[0]!.read(process).catch((error: unknown) => {
      this.log.info("a reader gave up", { because: messageOf(error) });
      this.count("reader gave up");
    });
  }

  /** Faults end, everyone dies, late requests arrive; then a new machine must find everything and can go on (I7, I8). */
  async #finale(): Promise<void> {
    this.store.faults.trouble = 0;
    for (const node of [...this.nodes, ...this.#ghosts]) node.act("kill");
    await this.clock.sleep(3 * 600_000);
    await Promise.allSettled(this.#readers);
    if (this.store.late > 0) this.fail(`${this.store.late} requests are still under way`);
    this.truth.checkPublished();
    const heir = new Node(this, "heir");
    await heir.inherit();
  }
}

const ACTIONS = [
  ...["start", "start", "start", "start", "kill", "kill", "pause", "resume", "resume", "lose", "snapshot"],
  ...[
    "roll back",
    "follow",
    "follow",
    "promote",
    "promote",
    "restore",
    "cut",
    "blind",
    "twin",
    "damage",
    "short",
    "stop",
    "read",
    "read",
    "trouble",
  ],
] as const;
export type Action = (typeof ACTIONS)[number];
