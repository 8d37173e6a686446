// `holdfast status`: one screen of truth about the running node.

import { formatBytes, formatDuration } from "../base/progress.ts";
import { EXIT } from "../base/errors.ts";
import { type Json, parseLossless } from "../base/lossless-json.ts";
import { takesNoWrites } from "../supervisor/disk-pressure.ts";
import { stuckFile } from "../supervisor/health.ts";
import type { NodeView } from "../supervisor/node-view.ts";
import { callLocally } from "../supervisor/local-client.ts";
import { formatLsn, type Lsn } from "../wal/lsn.ts";
import type { CommandContext } from "./commands.ts";
import { readTable } from "./read-table.ts";
import { NODE_TABLE } from "./settings-table.ts";
import { settingsWorld } from "./wiring.ts";

/** Prints the node's view; exit status 0 when it serves clients, 1 when it does not. Throws NoSupervisorError. */
export async function runStatus(args: readonly string[], context: CommandContext): Promise<number> {
  const answer = await callLocally(socketPath(context), "status", context.signal);
  const text = answer.lines.join("\n");
  const view = parseLossless(text) as unknown as NodeView;
  context.print(
    args.includes("--json")
      ? `${JSON.stringify(forJson(parseLossless(text)), null, 2)}\n`
      : renderStatus(view),
  );
  return view.phase === "running" && view.doorsOpen ? EXIT.ok : EXIT.failure;
}

/** Where the supervisor of this environment listens. */
export function socketPath({ env }: Pick<CommandContext, "env">): string {
  if (env["HOLDFAST_SOCKET"] !== undefined) return env["HOLDFAST_SOCKET"];
  const { RUN_DIRECTORY } = readTable(NODE_TABLE, env, settingsWorld, { problems: [], notices: [] });
  return `${RUN_DIRECTORY ?? "/run/holdfast"}/supervisor.sock`;
}

/** Among others: who leads, and who is in sight. */
function member({ member: of }: NodeView): [string, string][] {
  if (of === null) return [];
  const lead = of.primary === null ? "nobody leads" : `${of.primary} leads`;
  return [["cluster", `${lead}; ${of.inSight} of ${of.members} members in sight; this node: ${of.because}`]];
}

/** The screen, line by line. Pure. */
export function renderStatus(view: NodeView): string {
  const rows: [string, string][] = [
    ["node", `${view.node}, Holdfast ${view.version}`],
    ["state", `${view.phase} since ${time(view.sinceMs)}: ${view.because}`],
    [
      "role",
      view.role === "none"
        ? "none"
        : `${view.role}${view.timeline === null ? "" : ` on timeline ${view.timeline}`}`,
    ],
    ...member(view),
    ["clients", view.doorsOpen ? "are let in" : "are kept out"],
    ["durability", durability(view)],
    ["flush lag", lag(view)],
    ...archiver(view),
    ["store", store(view)],
    ["last backup", backup(view)],
    ["recoverable", window(view)],
    [
      "volume",
      view.disk === null
        ? "not measured yet"
        : `${formatBytes(view.disk.freeBytes)} free of ${formatBytes(view.disk.totalBytes)}${takesNoWrites(view.disk.pressure) ? "; NO WRITES are taken until there is room" : ""}`,
    ],
  ];
  const { progress } = view;
  if (progress !== null) {
    const of = progress.totalBytes === null ? "" : ` of ${formatBytes(progress.totalBytes)}`;
    const left = progress.etaSeconds === null ? "" : `, ${formatDuration(progress.etaSeconds * 1000)} left`;
    rows.push(["progress", `${progress.what}: ${formatBytes(progress.doneBytes)}${of}${left}`]);
  }
  for (const alarm of view.streamer?.alarms ?? []) rows.push(["ALARM", alarm]);
  return rows.map(([name, text]) => `${name.padEnd(12)} ${text}\n`).join("");
}

/** The mode, and what it is worth right now. */
function durability(view: NodeView): string {
  const { durability: mode, store } = view;
  const unfenced = store.fencing ? "" : "; the store does not honour conditional writes, fencing: none";
  return `${mode}: ${mode === "async" ? asyncWorth(view) : "a commit waits for it"}${unfenced}`;
}

function asyncWorth({ store, streamer, role, atMs }: NodeView): string {
  if (store.isOnVolume)
    return "a commit is safe from a crash; the store lies on the volume itself and is lost together with it";
  const trouble = store.trouble ?? streamer?.store ?? null;
  if (role === "primary" && streamer === null)
    return "right now nothing leaves for the store: commits are on this volume only";
  if (trouble !== null && role === "primary")
    return `for ${formatDuration(atMs - trouble.sinceMs)} the store has taken nothing: newer commits are on this volume only`;
  return "a commit is safe from the loss of the volume within about a second";
}

function lag({ streamer, atMs }: NodeView): string {
  if (streamer === null) return "no streamer runs";
  const durable =
    streamer.durable === null ? "" : `, durable up to ${formatLsn(BigInt(streamer.durable) as Lsn)}`;
  const trouble = streamer.connection;
  const since =
    trouble === null
      ? ""
      : `; connection: ${trouble.lastError} (since ${formatDuration(atMs - trouble.sinceMs)})`;
  return `${formatBytes(streamer.lagBytes)}, ${streamer.lagSeconds.toFixed(1)} s${durable} (${streamer.phase})${since}`;
}

/** Only when files wait for long. */
function archiver(view: NodeView): [string, string][] {
  const stuck = stuckFile(view);
  return stuck === null ? [] : [["archiver", stuck]];
}

function store({ store: { name, trouble: own }, streamer, atMs }: NodeView): string {
  const trouble = own ?? streamer?.store ?? null;
  return trouble === null
    ? `${name}: answers`
    : `${name}: fails since ${formatDuration(atMs - trouble.sinceMs)}: ${trouble.lastError}`;
}

function backup({ archive, schedule, atMs }: NodeView): string {
  const last = archive?.lastBackup ?? null;
  const next = schedule?.nextBackupMs ?? null;
  const words = [
    last === null
      ? "none known"
      : `${last.name}, ${formatDuration(atMs - last.finishedMs)} ago, ${formatBytes(last.compressedBytes)} in ${formatDuration(last.durationSeconds * 1000)}`,
  ];
  if (schedule?.running != null) words.push("one is being taken");
  if (schedule?.trouble != null)
    words.push(`${schedule.trouble.failures} failed in a row: ${schedule.trouble.lastError}`);
  if (next !== null) words.push(`next ${time(next)}`);
  return words.join("; ");
}

function window({ archive }: NodeView): string {
  if (archive?.window == null) return "nothing known yet";
  const { fromMs, toMs } = archive.window;
  const missing = archive.missingBetweenBackups;
  return `${time(fromMs)} to ${time(toMs)}${missing === 0 ? "" : `; ${missing} segments are missing`}`;
}

/** Integers beyond 2^53 as strings: JSON's readers would round them. */
function forJson(value: Json): unknown {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map((each) => forJson(each as Json));
  if (value !== null && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, forJson(each)]));
  return value;
}

const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
