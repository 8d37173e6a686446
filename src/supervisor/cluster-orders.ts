// What other members call, and what an operator orders: `holdfast cluster …` over the local socket, `take-over` and its like from member to member.

import { messageOf } from "../base/errors.ts";
import type { Roster } from "../cluster/roster.ts";
import { changeRoster } from "../cluster/roster-store.ts";
import { formatLsn } from "../wal/lsn.ts";
import type { Cluster } from "./cluster.ts";
import { describeCluster } from "./cluster-view.ts";
import { pickSuccessor } from "./cluster-successor.ts";
import type { Verbs } from "./front.ts";
import type { SocketAnswer } from "./local-socket.ts";
import type { NodeContext } from "./node-context.ts";
import { writeReinit } from "./reinit-mark.ts";

/** Answers members for as long as this node has data; the returned function ends it. */
export function answerMembers(node: NodeContext, cluster: Cluster): () => void {
  const undo = [
    cluster.answer("ready-to-lead", () => {
      if (cluster.mind.standing !== "standby") throw new Error(`it is ${cluster.mind.standing}`);
      if (!cluster.local.streaming) throw new Error("it does not stream");
      // What the log holds is read already while the primary stops.
      cluster.lookAtLog();
      return "ready";
    }),
    cluster.answer("position", () => JSON.stringify({ recordEnd: formatLsn(cluster.local.recordEnd) })),
    cluster.answer("take-over", (body) => {
      const isTaken = cluster.mind.onHandOver(cluster.nowMs);
      if (!isTaken) throw new Error(`it is ${cluster.mind.standing}`);
      node.log.warn("the primary hands over to this node", { at: (JSON.parse(body) as { at: string }).at });
      cluster.poke();
      return "taken";
    }),
    cluster.answer("order-reinit", async () => (await reinit(node, cluster, null)).lines.join("\n")),
    cluster.answer("order", async (body) => {
      const { words } = JSON.parse(body) as { words: readonly string[] };
      return JSON.stringify(await obey(node, cluster, words));
    }),
  ];
  return () => undo.forEach((each) => each());
}

/** Answers the operator for the life of the supervisor: `cluster WORD …`. */
export function answerOperator(node: NodeContext, cluster: Cluster, verbs: Verbs): void {
  verbs.set("cluster", async (words) => {
    try {
      return await answer(node, cluster, words);
    } catch (error) {
      return { exit: 1, lines: [`FAILED: ${messageOf(error)}`] };
    }
  });
}

async function answer(node: NodeContext, cluster: Cluster, words: readonly string[]): Promise<SocketAnswer> {
  const [verb = "status"] = words;
  switch (verb) {
    case "status":
      return { exit: 0, lines: describeCluster(cluster, words.includes("--json")) };
    case "reinit":
      return await reinit(node, cluster, words[1] ?? null);
    case "promote":
      return promoteByForce(node, cluster, words.includes("--force"));
    case "switchover":
    case "pause":
    case "resume":
    case "forget":
      return await atThePrimary(node, cluster, words);
    default:
      return {
        exit: 2,
        lines: [`"${verb}" is not known; one of status, switchover, pause, resume, forget, reinit, promote`],
      };
  }
}

/** The primary does it; on another node it is asked to. */
async function atThePrimary(
  node: NodeContext,
  cluster: Cluster,
  words: readonly string[],
): Promise<SocketAnswer> {
  const { mind, settings } = cluster;
  if (mind.standing === "primary") return await obey(node, cluster, words);
  const { primary } = mind;
  if (primary === null || primary === settings.self.name)
    return { exit: 1, lines: ["FAILED: no member leads, so nobody can do that now"] };
  const text = await cluster.call(primary, "order", { words }, ORDER_MS);
  return JSON.parse(text) as SocketAnswer;
}

async function obey(node: NodeContext, cluster: Cluster, words: readonly string[]): Promise<SocketAnswer> {
  const [verb, name = null] = words;
  if (cluster.mind.standing !== "primary")
    return { exit: 1, lines: [`FAILED: ${cluster.settings.self.name} does not lead`] };
  if (verb === "switchover") return await switchover(cluster, name);
  if (verb === "forget") return await forget(node, cluster, name);
  const isPaused = verb === "pause";
  return await changed(
    node,
    cluster,
    (roster) => ({ ...roster, isPaused }),
    isPaused ? "automatic failover is paused" : "automatic failover goes on",
  );
}

async function switchover(cluster: Cluster, asked: string | null): Promise<SocketAnswer> {
  const { name, because } = pickSuccessor(cluster, asked);
  if (name === null) return { exit: 1, lines: [`FAILED: nobody can take over: ${because}`] };
  const begunMs = cluster.nowMs;
  const fault = await cluster.askSwitchover(name, `it was asked for; ${because}`);
  if (fault !== null) return { exit: 1, lines: [`FAILED: ${fault}`] };
  return { exit: 0, lines: [`OK: ${name} leads, after ${Math.round(cluster.nowMs - begunMs)} ms`] };
}

async function forget(node: NodeContext, cluster: Cluster, name: string | null): Promise<SocketAnswer> {
  if (name === null) return { exit: 2, lines: ["forget whom? give the member's name"] };
  const { mind, settings } = cluster;
  if (name === settings.self.name) return { exit: 1, lines: ["FAILED: the primary cannot be forgotten"] };
  const view = mind.views(cluster.nowMs).find((candidate) => candidate.name === name);
  if (view?.sight.kind === "alive")
    return { exit: 1, lines: [`FAILED: ${name} is alive; stop it first, or it comes back at once`] };
  if (mind.roster?.members.includes(name) !== true)
    return { exit: 1, lines: [`FAILED: ${name} is no member`] };
  return await changed(
    node,
    cluster,
    (roster) => ({
      ...roster,
      members: roster.members.filter((member) => member !== name),
      inSync: roster.inSync?.filter((holder) => holder.name !== name) ?? null,
    }),
    `${name} is no member any more; its slot is dropped`,
  );
}

async function changed(
  node: NodeContext,
  cluster: Cluster,
  change: (roster: Roster) => Roster,
  sentence: string,
): Promise<SocketAnswer> {
  const { store, clock, log } = node;
  const { epoch } = cluster.mind;
  const outcome = await changeRoster(
    store,
    (found) =>
      found !== null && found.epoch === epoch
        ? { kind: "write", roster: change(found) }
        : { kind: "refused", because: "the roster is another's: a newer fence stands in the log" },
    { clock, log, signal: AbortSignal.any([cluster.signal, AbortSignal.timeout(ORDER_MS)]) },
  );
  if (outcome.kind === "lost") return { exit: 1, lines: [`FAILED: ${outcome.because}`] };
  cluster.mind.setRoster(outcome.roster);
  log.warn(sentence);
  return { exit: 0, lines: [`OK: ${sentence}`] };
}

/** This node's data are put aside and the volume is filled again; another member's is asked for there. */
async function reinit(node: NodeContext, cluster: Cluster, name: string | null): Promise<SocketAnswer> {
  const own = cluster.settings.self.name;
  if (name !== null && name !== own) {
    const text = await cluster.call(name, "order-reinit", {}, ORDER_MS);
    return { exit: 0, lines: [text] };
  }
  if (cluster.mind.standing === "primary")
    return { exit: 1, lines: ["FAILED: this node leads; switch over first"] };
  await writeReinit(node.paths);
  node.interrupts.interrupt("a reinit was ordered");
  return { exit: 0, lines: [`OK: ${own} puts its data aside and fills its volume again`] };
}

/** What a promotion without evidence risks is said, and done only when it is wanted all the same. */
function promoteByForce(node: NodeContext, cluster: Cluster, isForced: boolean): SocketAnswer {
  const { mind } = cluster;
  if (mind.standing !== "standby")
    return { exit: 1, lines: [`FAILED: this node is ${mind.standing}, only a standby is promoted`] };
  const risks = [
    mind.because,
    "a promotion by force asks no member and waits for nobody's licence: a primary that still lives somewhere may acknowledge commits until it meets the new fence, and those are lost",
    ...(mind.roster?.inSync == null
      ? []
      : ["commits that were acknowledged by another standby may be missing here: they are lost"]),
    "it still takes a fence: while the store does not answer nobody is promoted, and after about half a minute the order is void",
  ];
  if (!isForced) return { exit: 2, lines: [...risks, "nothing was done: add --force"] };
  node.log.error("promoted by force: an operator takes the risk", { because: mind.because });
  mind.onForced(cluster.nowMs);
  cluster.poke();
  return {
    exit: 0,
    lines: [...risks, "OK: the promotion has begun; watch it with: holdfast cluster status"],
  };
}

const ORDER_MS = 60_000;
