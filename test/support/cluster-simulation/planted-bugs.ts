// Decisions gone wrong on purpose, each a plausible mistake; the simulation must catch every one.

import type { Rules } from "../../../src/cluster/mind-types.ts";
import type { Focus } from "./run.ts";
import { RULES } from "../../../src/cluster/rules.ts";

export interface PlantedBug extends Partial<Rules> {
  readonly focus?: Focus;
}

export const PLANTED_BUGS: Readonly<Record<string, PlantedBug>> = {
  "the doors open without waiting out an unseen primary's licence": {
    focus: { nodes: 2, durability: "async", faults: ["ambush"] },
    decideDoors: (facts, timers) => RULES.decideDoors({ ...facts, fencedMs: null }, timers),
  },
  "a primary goes on although neither the store nor every member answers": {
    decideDoors: (facts, timers) => RULES.decideDoors({ ...facts, counted: [] }, timers),
  },
  "the licence lasts longer than the new primary waits": {
    focus: { nodes: 2, durability: "async", faults: ["ambush"] },
    decideDoors: (facts, timers) =>
      RULES.decideDoors(facts, facts.wereOpen ? { ...timers, freezeMs: 4_000 } : timers),
  },
  "a fenced primary goes on": {
    decideDoors: (facts, timers) =>
      RULES.decideDoors(
        { ...facts, isFenced: false, outrankedBy: null, logConfirmedMs: facts.nowMs },
        timers,
      ),
  },
  "a member that runs the gate still grants the old primary its licence": {
    focus: { durability: "async", faults: ["cut-primary-store", "pause-primary"] },
    mayGrant: ({ standing }) => standing !== "primary",
  },
  "the second look is not heeded": {
    advanceGate: (gate, event, nowMs) => {
      if (event.kind === "refused" && event.because.includes("leads after all")) return gate;
      return RULES.advanceGate(gate, event.kind === "looked" ? { ...event, leads: null } : event, nowMs);
    },
    decideEvidence: (facts, timers) =>
      RULES.decideEvidence(
        { ...facts, members: facts.members.filter(({ name }) => name !== facts.primary), primary: null },
        timers,
      ),
  },
  "the doors open before the log accepted the history": {
    advanceGate: (gate, event, nowMs) => {
      const next = RULES.advanceGate(gate, event, nowMs);
      return next.kind === "running" && next.step === "record" ? { ...next, step: "open" } : next;
    },
  },
  "a standby that may lack commits is promoted": {
    focus: { durability: "standby" },
    decideEvidence: (facts, timers) => RULES.decideEvidence({ ...facts, holders: null }, timers),
    claimRoster: (found, claimant, members) =>
      RULES.claimRoster(found, { ...claimant, isOrphaned: true }, members),
  },
  "commits go on without a standby before the record says so": {
    focus: { durability: "standby", policy: "bounded" },
    planSynchronous: (facts) => {
      const step = RULES.planSynchronous(facts);
      return step.kind === "record" && step.names.length === 0
        ? { kind: "configure", names: [], because: step.because }
        : step;
    },
  },
  "a standby is recorded before it has caught up": {
    focus: { nodes: 2, durability: "standby", faults: ["kill", "kill-primary", "reset"] },
    planSynchronous: (facts) =>
      RULES.planSynchronous({
        ...facts,
        configuredAt: facts.configuredAt ?? facts.streaming[0]?.flushed ?? null,
        streaming: facts.streaming.map((standby) => ({
          ...standby,
          isSync: true,
          flushed: facts.configuredAt ?? standby.flushed,
        })),
      }),
  },
  "members leave the roster as soon as they are out of sight": {
    planRoster: (roster, self, subjects, limits) =>
      RULES.planRoster(roster, self, subjects, { ...limits, forgetMs: 1_000 }),
    claimRoster: (found, claimant, members) =>
      RULES.claimRoster(
        found === null ? null : { ...found, members: [...new Set([...found.members, claimant.name])] },
        claimant,
        members,
      ),
    decideEvidence: (facts, timers) => RULES.decideEvidence({ ...facts, inRoster: true }, timers),
  },
  "the region rule is ignored": {
    decideEvidence: (facts, timers) =>
      RULES.decideEvidence({ ...facts, self: { ...facts.self, eligible: true } }, timers),
  },
  "a node that sees a primary contends all the same": {
    focus: { faults: ["kill-primary", "store-away"] },
    decideContend: (facts, timers) => RULES.decideContend({ ...facts, members: [], counted: [] }, timers),
  },
};
