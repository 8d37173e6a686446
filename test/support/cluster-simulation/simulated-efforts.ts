// What a simulated node does when its mind asks for more than a question: the steps of the gate, contending, rejoining, the roster.

import type { Effect } from "../../../src/cluster/mind-types.ts";
import type { GateEvent } from "../../../src/cluster/gate-machine.ts";
import { type Roster, declareRoster } from "../../../src/cluster/roster.ts";
import { unreachable } from "../../../src/base/errors.ts";
import { contains } from "./history.ts";
import type { SimulatedNode } from "./simulated-node.ts";

type GateEffect = Extract<Effect, { kind: "gate" }>;

/** Performs one effect; the mind hears of its end. */
export function performEffort(node: SimulatedNode, effect: Exclude<Effect, { kind: "ask" | "doors" }>): void {
  const { world } = node;
  const { store } = world;
  switch (effect.kind) {
    case "look-at-log": {
      const begunMs = node.clockMs;
      node.storeCall(
        () => store.look(begunMs),
        (look) => {
          if (look !== null) node.mind?.onLogLook(look, node.clockMs);
        },
      );
      return;
    }
    case "confirm-log": {
      const epoch = node.mind?.epoch ?? null;
      if (epoch === null) return;
      const begunMs = node.clockMs;
      node.storeCall(
        () => store.isOwner(epoch),
        (isOwner) => {
          if (isOwner === null || node.mind?.epoch !== epoch) return;
          if (isOwner) node.mind.onLogConfirmed(begunMs, node.clockMs);
          else node.mind.onFenced();
        },
      );
      return;
    }
    case "sign":
      node.storeWrite(
        () => store.sign(),
        () => undefined,
      );
      return;
    case "gate":
      gateStep(node, effect);
      return;
    case "contend":
    case "take-over":
      contend(node, effect.kind);
      return;
    case "lead-without-store":
      leadWithoutStore(node);
      return;
    case "rejoin":
      rejoin(node, effect.primary);
      return;
    case "stop-postgres":
      world.say(`${node.name} stops Postgres: ${effect.because}`);
      node.stopPostgres();
      return;
    case "swap-roster":
      swapRoster(node, effect.from, effect.to, effect.because);
      return;
    case "synchronous":
      node.later(world.between(5, 60), () => configureSynchronous(node, effect.names));
      return;
    case "say":
      world.say(`${node.name} ${effect.sentence}: ${effect.because}`);
      return;
    default:
      unreachable(effect);
  }
}

/** Set and in force; the mark is read afterwards. */
function configureSynchronous(node: SimulatedNode, names: readonly string[]): void {
  node.configured = names;
  node.configuredAt = null;
  node.mind?.setSynchronous(node.synchronousState());
  node.mind?.onSynchronousDone();
  node.world.say(`${node.name} waits for [${names.join(" ")}]`);
}

function gateStep(node: SimulatedNode, { step, plan }: GateEffect): void {
  const { world } = node;
  const { store } = world;
  const tell = (event: GateEvent): void => {
    if (node.mind !== null) node.perform(node.mind.onGate(event, node.clockMs));
  };
  const again = (because: string): void => node.later(200, () => tell({ kind: "again", because }));
  const refused = (because: string): void => tell({ kind: "refused", because });
  const isMine = (epoch: number | null): boolean => epoch !== null && store.isOwner(epoch);
  switch (step) {
    case "fence": {
      const token = `${node.name}/${node.life}/${world.random()}`;
      // T1: what the log holds is read first; a history that is not ours makes us suspect, not owner.
      node.storeCall(
        () => {
          return isOnPath(node) ? store.fence(token, "promote") : null;
        },
        (result) => {
          if (result === null) again("the store does not answer, or its history is another");
          else tell({ kind: "fenced", epoch: result.epoch, atMs: node.clockMs });
        },
      );
      return;
    }
    case "claim":
      node.storeCall(
        () => ({ roster: store.roster, tag: store.rosterTag, isMine: isMine(plan.epoch) }),
        (found) => {
          if (found === null) return again("the store does not answer");
          if (!found.isMine) return refused("fenced before the claim");
          const claim = world.rules.claimRoster(
            found.roster,
            {
              name: node.name,
              volume: node.volume,
              epoch: plan.epoch!,
              isOrphaned: plan.isOrphaned,
              isContinuing: false,
            },
            plan.configured,
          );
          if (claim.kind === "refused") return refused(claim.because);
          node.storeCall(
            () => store.swapRoster(found.tag, claim.roster),
            (swapped) => {
              if (swapped !== true) return again("the roster changed, or the store does not answer");
              node.mind?.setRoster(claim.roster);
              tell({ kind: "claimed" });
            },
          );
        },
      );
      return;
    case "fetch":
      node.storeCall(
        () => ({ end: store.position, isMine: isMine(plan.epoch), isOnPath: isOnPath(node) }),
        (found) => {
          if (found === null) return again("the store does not answer");
          if (!found.isMine) return refused("fenced before the fetch");
          if (!found.isOnPath) return refused("its history is another");
          node.later(world.between(5, 300), () => {
            if (node.position.branch.id !== found.end.branch.id || node.position.lsn < found.end.lsn)
              node.position = found.end;
            node.upstream = null;
            tell({ kind: "fetched", recordEnd: node.local().recordEnd });
          });
        },
      );
      return;
    case "look": {
      const others = world.nodes.filter((other) => other !== node);
      const primary = others.find(({ name }) => name === plan.primary);
      // The log is looked at again too: a newer fence now means that another gate goes on.
      node.storeCall(
        () => isMine(plan.epoch),
        (owns) => {
          if (owns === null) return again("the store does not answer");
          if (!owns) return refused("fenced before the promotion");
          if (primary === undefined) return tell({ kind: "looked", leads: null });
          node.askNow(primary, (report) => {
            const leads = report?.standing === "primary" ? primary.name : null;
            tell({ kind: "looked", leads });
          });
        },
      );
      return;
    }
    case "mark":
      node.later(world.between(2, 20), () =>
        tell({ kind: "marked", promotion: `${node.name}-${plan.epoch}` }),
      );
      return;
    case "promote":
      node.later(world.between(80, 600), () => {
        node.wasPrimary = true;
        node.position = {
          branch: world.newBranch(node.position.branch, node.position.lsn),
          lsn: node.position.lsn,
        };
        node.postgres = "primary";
        node.upstream = null;
        world.say(`${node.name} promotes to branch ${node.position.branch.id} at ${node.position.lsn}`);
        world.onPromoted(node);
        tell({ kind: "promoted", timeline: node.local().timeline });
      });
      return;
    case "record":
      node.storeCall(
        () => store.accept(plan.epoch!, node.position.branch),
        (accepted) => {
          if (accepted === null) return again("the store does not answer");
          if (!accepted) return refused("fenced before its history was accepted");
          node.settled = node.position.lsn;
          tell({ kind: "recorded" });
        },
      );
      return;
    case "declare":
      declare(node, plan.epoch!, (outcome) => {
        if (outcome === "again") return again("the store does not answer");
        if (outcome === "refused") return refused("a newer fence claimed the roster");
        if (plan.synchronousNames !== null) configureSynchronous(node, plan.synchronousNames);
        tell({ kind: "declared" });
      });
      return;
    default:
  }
}

/** Nobody but the new primary holds what it will acknowledge: written before the doors. */
function declare(
  node: SimulatedNode,
  epoch: number,
  done: (outcome: "done" | "again" | "refused") => void,
): void {
  const { store, isSynchronous } = node.world;
  node.storeCall(
    () => {
      const found = store.roster;
      if (found === null || found.epoch !== epoch) return null;
      const roster = declareRoster(found, node, isSynchronous);
      store.swapRoster(store.rosterTag, roster);
      return { roster };
    },
    (result) => {
      if (result === null) {
        // Unknown and refused look alike here; asking again tells them apart.
        const isLost = store.roster !== null && store.roster.epoch > epoch;
        done(isLost ? "refused" : "again");
        return;
      }
      node.mind?.setRoster(result.roster);
      done("done");
    },
  );
}

/** What the log holds of the winner's history and what this node holds are one line. */
function isOnPath({ position, world: { store } }: SimulatedNode): boolean {
  return position.branch.id === store.tip.id || contains(store.position, position);
}

/** Fence, then the junction: continue, bring the own timeline, or suspect. */
function contend(node: SimulatedNode, kind: "contend" | "take-over"): void {
  const { world } = node;
  const { store } = world;
  const token = `${node.name}/${node.life}/${world.random()}`;
  const again = (): void => node.mind?.onBecame({ kind: "contend-again" }, node.clockMs);
  const suspect = (because: string): void => {
    node.stopPostgres();
    node.mind?.onBecame({ kind: "suspect", because }, node.clockMs);
  };
  node.storeCall(
    () => {
      const verdict = junction(node);
      return verdict === "suspect"
        ? { verdict, epoch: -1 }
        : { verdict, epoch: store.fence(token, "start").epoch };
    },
    (found) => {
      if (found === null) return again();
      world.say(`${node.name} ${kind}s: ${found.verdict}`);
      if (found.verdict === "suspect") return suspect("the log holds another history");
      const fencedMs = node.clockMs;
      const { epoch, verdict } = found;
      claimForStart(node, epoch, verdict === "bring", (roster) => {
        if (roster === "again") return again();
        if (roster === "refused") return suspect("the roster does not allow it");
        node.storeCall(
          () => {
            if (!store.isOwner(epoch)) return false;
            return verdict === "bring" ? store.accept(epoch, node.position.branch) : true;
          },
          (accepted) => {
            if (accepted === null) return again();
            if (!accepted) return again();
            node.settled = store.tip.id === node.position.branch.id ? store.end : node.position.lsn;
            node.postgres = "primary";
            node.wasPrimary = true;
            if (world.isSynchronous) {
              node.configured = (roster.inSync ?? []).map(({ name }) => name);
              node.configuredAt = null;
            }
            node.mind?.onBecame({ kind: "primary", epoch, fencedMs, roster }, node.clockMs);
          },
        );
      });
    },
  );
}

function junction(node: SimulatedNode): "continue" | "bring" | "suspect" {
  const { store } = node.world;
  const { branch, lsn } = node.position;
  if (branch.id === store.tip.id) return lsn >= store.end ? "continue" : "suspect";
  if (branch.parent?.id === store.tip.id && branch.fork >= store.end) return "bring";
  return "suspect";
}

function claimForStart(
  node: SimulatedNode,
  epoch: number,
  isBringing: boolean,
  done: (roster: Roster | "again" | "refused") => void,
): void {
  const { store, isSynchronous, rules } = node.world;
  node.storeCall(
    () => ({ roster: store.roster, tag: store.rosterTag }),
    (found) => {
      if (found === null || found.roster === null) return done("again");
      // Who continues its own timeline made every acknowledgement itself; who brings one needs the roster's word, as any candidate.
      const { name, volume } = node;
      const claim = rules.claimRoster(
        found.roster,
        { name, volume, epoch, isOrphaned: false, isContinuing: !isBringing },
        [],
      );
      if (claim.kind === "refused") return done("refused");
      const roster = isBringing ? declareRoster(claim.roster, node, isSynchronous) : claim.roster;
      node.storeCall(
        () => store.swapRoster(found.tag, roster),
        (swapped) => done(swapped === true ? roster : "again"),
      );
    },
  );
}

/** G7: every member is in sight, the store is not. */
function leadWithoutStore(node: SimulatedNode): void {
  const { world } = node;
  const roster = node.mind?.roster ?? null;
  if (roster === null) return node.mind?.onBecame({ kind: "contend-again" }, node.clockMs);
  world.say(`${node.name} leads without the store`);
  node.postgres = "primary";
  node.wasPrimary = true;
  if (world.isSynchronous) {
    node.configured = (roster.inSync ?? []).map(({ name }) => name);
    node.configuredAt = null;
  }
  node.mind?.onBecame({ kind: "primary", epoch: null, fencedMs: null, roster }, node.clockMs);
}

function rejoin(node: SimulatedNode, primary: string | null): void {
  const { world } = node;
  const fail = (): void => node.mind?.onBecame({ kind: "contend-again" }, node.clockMs);
  const stand = (): void => {
    node.postgres = "standby";
    node.wasPrimary = false;
    node.upstream = null;
    world.say(`${node.name} is a standby again at ${node.position.lsn}/${node.position.branch.id}`);
    node.mind?.onBecame({ kind: "standby" }, node.clockMs);
  };
  if (primary === null) {
    node.storeCall(
      () => world.store.position,
      (position) => {
        if (position === null) return fail();
        node.later(world.between(1_000, 3_000), () => {
          node.position = position;
          stand();
        });
      },
    );
    return;
  }
  const source = world.nodes.find(({ name }) => name === primary)!;
  const isThere = (): boolean => source.isOpen && !source.isPaused && world.areLinked(node, source);
  node.stopPostgres();
  node.later(world.between(500, 2_500), () => {
    if (!isThere()) return fail();
    // What both share stays; pg_rewind or a new base brings the rest.
    node.position = { branch: source.position.branch, lsn: node.sharedWith(source.position).lsn };
    stand();
  });
}

/** An empty volume is filled from the living primary's history, or from the store alone. */
export function join(node: SimulatedNode): void {
  if (node.mind?.standing !== "joining") return;
  const { world } = node;
  const again = (): void => node.later(300, () => join(node));
  const source = world.nodes.find(({ name }) => name === node.mind?.primary);
  const leads = source !== undefined && source.isOpen && !source.isPaused && world.areLinked(node, source);
  const isAlone = world.nodes.every((other) => other === node || other.mind?.standing !== "primary");
  if (!leads && !isAlone) return again();
  node.storeCall(
    () => world.store.position,
    (position) => {
      if (position === null) return again();
      node.later(world.between(500, 3_000), () => {
        node.position = position;
        node.postgres = "standby";
        node.mind?.onBecame({ kind: "standby" }, node.clockMs);
      });
    },
  );
}

function swapRoster(node: SimulatedNode, from: Roster, to: Roster, because: string): void {
  const { store } = node.world;
  const epoch = node.mind?.epoch ?? null;
  node.storeCall(
    () => {
      const isMine = store.roster !== null && store.roster.epoch === from.epoch && epoch === from.epoch;
      return isMine && store.swapRoster(store.rosterTag, to);
    },
    (swapped) => {
      if (node.mind?.epoch !== epoch) return;
      if (swapped === null) return readRosterBack(node, epoch);
      if (swapped)
        node.world.say(
          `${node.name} writes the roster [${to.members.join(" ")}], in sync [${to.inSync?.map(({ name }) => name).join(" ") ?? "-"}]: ${because}`,
        );
      node.mind.onRoster(swapped ? to : null);
    },
  );
}

/** The swap's outcome is unknown: nothing may be concluded before the roster was read. */
function readRosterBack(node: SimulatedNode, epoch: number | null): void {
  node.storeCall(
    () => ({ roster: node.world.store.roster }),
    (found) => {
      if (node.mind === null || node.mind.epoch !== epoch) return;
      if (found === null) return node.later(200, () => readRosterBack(node, epoch));
      node.mind.onRoster(found.roster?.epoch === epoch ? found.roster : null);
    },
  );
}
