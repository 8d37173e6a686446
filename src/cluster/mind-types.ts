// What goes into a node's mind and what comes out of it.

import type { Lsn } from "../wal/lsn.ts";
import type { StoreEnd } from "./candidates.ts";
import type { Contend, ContendFacts } from "./contend.ts";
import type { Doors, DoorsFacts } from "./doors.ts";
import type { Evidence, EvidenceFacts } from "./evidence.ts";
import type { Sight, Watch } from "./detection.ts";
import type { GateEvent, GateState, GateStep, RunningGate } from "./gate-machine.ts";
import type { Report } from "./report.ts";
import type { Claim, Claimant, Roster, RosterSubject } from "./roster.ts";
import type { StreamingStandby, SynchronousFacts, SynchronousStep } from "./synchronous.ts";
import type { Timers } from "./timers.ts";

/** Who this node is. */
export interface Self {
  readonly name: string;
  readonly region: string;
  readonly priority: number;
  readonly eligible: boolean;
  readonly incarnation: string;
  readonly build: string;
}

export interface MindOptions {
  readonly timers: Timers;
  /** DURABILITY is `standby` or `both`; null otherwise. */
  readonly synchronous: SynchronousFacts["policy"] | null;
  readonly canFence: boolean;
}

/** What the shell measures of its own Postgres and tells as it changes. */
export interface Local {
  readonly systemId: string | null;
  readonly volume: string;
  readonly timeline: number;
  readonly recordEnd: Lsn;
  readonly replayed: Lsn;
  readonly durable: Lsn | null;
  readonly streaming: boolean;
  /** Room on the volume; null: not measured yet. */
  readonly freeBytes: number | null;
}

/** A look into the log by somebody who does not own it. */
export interface LogLook {
  /** When the look was begun. */
  readonly begunMs: number;
  /** Changes whenever the log grows or a primary renews its hint. */
  readonly mark: string;
  readonly storeEnd: StoreEnd | null;
  readonly promotionPending: boolean;
  readonly roster: Roster | null;
}

/** One thing for the shell to do; it never blocks the mind. */
export type Effect =
  | { readonly kind: "ask"; readonly to: string }
  | { readonly kind: "look-at-log" }
  /** Is the owner's next position still free? `onLogConfirmed` or `onFenced` when it is known. */
  | { readonly kind: "confirm-log" }
  | { readonly kind: "sign" }
  | { readonly kind: "gate"; readonly step: Exclude<GateStep, "open">; readonly plan: GatePlan }
  | { readonly kind: "doors"; readonly doors: Doors }
  | { readonly kind: "contend"; readonly because: string }
  | { readonly kind: "lead-without-store"; readonly because: string }
  /** A primary that started without the store: fence and junction, now that it may answer. */
  | { readonly kind: "take-over" }
  | { readonly kind: "rejoin"; readonly primary: string | null; readonly because: string }
  /** The gate was lost after the promotion: stop Postgres (G5). */
  | { readonly kind: "stop-postgres"; readonly because: string }
  | { readonly kind: "swap-roster"; readonly from: Roster; readonly to: Roster; readonly because: string }
  | { readonly kind: "synchronous"; readonly names: readonly string[]; readonly because: string }
  | { readonly kind: "say"; readonly sentence: string; readonly because: string };

/** What the running gate's steps need to know. */
export interface GatePlan {
  readonly epoch: number | null;
  readonly promotion: string | null;
  /** The primary to look at once more. */
  readonly primary: string | null;
  /** For "claim": who is a member where no roster exists yet. */
  readonly configured: readonly string[];
  /** For "claim": every copy that holds everything acknowledged is lost. */
  readonly isOrphaned: boolean;
  /** For "declare": what commits wait for from the first on; null where the mode does not ask. */
  readonly synchronousNames: readonly string[] | null;
}

/** How an effort of the shell ended. */
export type Became =
  | { readonly kind: "standby" }
  | { readonly kind: "contender" }
  | { readonly kind: "suspect"; readonly because: string }
  | { readonly kind: "joining" }
  | { readonly kind: "leaving" }
  /** The junction said continue; or G7: no fence yet. */
  | {
      readonly kind: "primary";
      readonly epoch: number | null;
      readonly fencedMs: number | null;
      readonly roster: Roster;
    }
  /** Contending brought nothing: the store did not answer. */
  | { readonly kind: "contend-again" };

/** Synchronous replication as Postgres shows it. */
export interface SynchronousState {
  readonly configured: readonly string[];
  readonly configuredAt: Lsn | null;
  readonly streaming: readonly StreamingStandby[];
}

/** The pure decisions a mind is made of; the simulation plants bugs by replacing one. */
export interface Rules {
  readonly sightOf: (watch: Watch, nowMs: number, timers: Timers) => Sight;
  readonly decideEvidence: (facts: EvidenceFacts, timers: Timers) => Evidence;
  readonly decideContend: (facts: ContendFacts, timers: Timers) => Contend;
  readonly advanceGate: (gate: RunningGate, event: GateEvent, nowMs: number) => GateState;
  readonly decideDoors: (facts: DoorsFacts, timers: Timers) => Doors;
  readonly mayGrant: (facts: GrantFacts) => boolean;
  readonly claimRoster: (found: Roster | null, claimant: Claimant, members: readonly string[]) => Claim;
  readonly planRoster: (
    roster: Roster,
    self: string,
    subjects: readonly RosterSubject[],
    limits: { readonly forgetMs: number; readonly upMs: number },
  ) => { readonly roster: Roster; readonly because: string } | null;
  readonly planSynchronous: (facts: SynchronousFacts) => SynchronousStep;
}

/** May this node promise the asking primary that it keeps its own doors shut? */
export interface GrantFacts {
  readonly standing: Report["standing"];
  readonly runsGate: boolean;
  readonly asker: Pick<Report, "name" | "standing" | "epoch">;
  /** The newest primary this node knows of. */
  readonly known: { readonly name: string; readonly epoch: number } | null;
}
