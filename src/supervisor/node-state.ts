// What the supervisor knows of its node, as it changes; `view` is a snapshot for checks, metrics and status.

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { ArchiveView, NodePhase, NodeView } from "./node-view.ts";

/** What changes by itself and is asked for at every snapshot. */
export type LiveParts = Pick<NodeView, "streamer" | "schedule" | "progress" | "children" | "member">;

export type KeptParts = Omit<NodeView, keyof LiveParts | "atMs" | "phase" | "because" | "sinceMs">;

/** One per supervisor. Every change of phase is logged once, with its sentence. */
export class NodeState {
  readonly #clock: Clock;
  readonly #log: Log;
  #kept: KeptParts;
  #phase: NodePhase = "booting";
  #because = "the supervisor starts";
  #sinceMs: number;
  #live: { [K in keyof LiveParts]: () => LiveParts[K] } = {
    streamer: () => null,
    schedule: () => null,
    progress: () => null,
    children: () => [],
    member: () => null,
  };

  constructor(
    first: Pick<KeptParts, "node" | "version" | "durability" | "store">,
    tools: { clock: Clock; log: Log },
  ) {
    this.#clock = tools.clock;
    this.#log = tools.log;
    this.#sinceMs = tools.clock.now();
    this.#kept = {
      ...first,
      role: "none",
      timeline: null,
      systemId: null,
      doorsOpen: false,
      postgresUp: false,
      postgresStarts: 0,
      slotRetainedBytes: null,
      slotBehind: null,
      readySegments: 0,
      nextToArchive: null,
      archive: null,
      disk: null,
    };
  }

  /** Room on the volume, as last measured. */
  get freeBytes(): number | null {
    return this.#kept.disk?.freeBytes ?? null;
  }

  get phase(): NodePhase {
    return this.#phase;
  }

  /** Enters a phase, or renews its sentence. */
  enter(phase: NodePhase, because: string): void {
    if (phase === this.#phase && because === this.#because) return;
    if (phase !== this.#phase) this.#sinceMs = this.#clock.now();
    this.#phase = phase;
    this.#because = because;
    this.#log[phase === "failed" || phase === "suspect" ? "error" : "info"](`node is ${phase}`, { because });
  }

  set(change: Partial<KeptParts>): void {
    this.#kept = { ...this.#kept, ...change };
  }

  /** Where to ask for what changes by itself. */
  ask(live: Partial<{ [K in keyof LiveParts]: () => LiveParts[K] }>): void {
    this.#live = { ...this.#live, ...live };
  }

  view(): NodeView {
    const streamer = this.#live.streamer();
    return {
      ...this.#kept,
      archive: withNewestCommit(this.#kept.archive, streamer?.newestCommitMs ?? null),
      atMs: this.#clock.now(),
      phase: this.#phase,
      because: this.#because,
      sinceMs: this.#sinceMs,
      streamer,
      schedule: this.#live.schedule(),
      progress: this.#live.progress(),
      children: this.#live.children(),
      member: this.#live.member(),
    };
  }
}

/** The store is looked at now and then; what became durable since widens the window. */
function withNewestCommit(archive: ArchiveView | null, commitMs: number | null): ArchiveView | null {
  if (archive?.window == null || commitMs === null || commitMs <= archive.window.toMs) return archive;
  return { ...archive, window: { ...archive.window, toMs: commitMs } };
}
