// repmgr on this node: its configuration, repmgrd as a child, and on the primary its list of nodes kept true to life.

import { chown, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/errors.ts";
import { answerHook, parseHook } from "../cluster/hooks.ts";
import { memberOf } from "../cluster/members.ts";
import {
  CONFIG_FILE,
  hasRepmgr,
  type RepmgrNode,
  renderRepmgrConfig,
  REPMGR_DATABASE,
  writeNodes,
} from "../cluster/repmgr.ts";
import { configPaths } from "../postgres/config-files.ts";
import { REPLICATION_ROLE } from "../postgres/roles.ts";
import { type Sql, withSql } from "../postgres/sql.ts";
import type { Cluster } from "./cluster.ts";
import type { Verbs } from "./front.ts";
import type { NodeContext } from "./node-context.ts";
import { type Child, startChild } from "./process-tree.ts";

const HOOK = "holdfast-hook";

/** Writes repmgr.conf, and makes `repmgr` find it without being told. */
export async function writeRepmgrConfig(node: NodeContext, cluster: Cluster): Promise<string> {
  const { settings, paths, programs, owner, log } = node;
  const path = join(paths.marks, "repmgr.conf");
  const text = renderRepmgrConfig({
    self: memberOf(settings.nodeName, cluster.hostOf(settings.nodeName)),
    port: settings.ports.postgres,
    user: REPLICATION_ROLE,
    passfile: configPaths(paths.marks).passfile,
    dataDirectory: paths.dataDirectory,
    bin: programs.bin,
    hook: HOOK,
    priority: cluster.settings.self.priority,
    pidFile: join(settings.runDirectory, "repmgrd.pid"),
  });
  await writeDurably(path, text, 0o644);
  if (owner !== null) await chown(path, owner.uid, owner.gid);
  try {
    await rm(CONFIG_FILE, { force: true });
    await symlink(path, CONFIG_FILE);
  } catch (error) {
    log.info(`repmgr finds its configuration only with -f ${path}`, { because: messageOf(error) });
  }
  return path;
}

/** repmgrd watches and reports; it never promotes. Started once Postgres takes connections and the list knows this node. */
export function startRepmgrd(node: NodeContext, config: string): Child {
  const { programs, owner, clock, log, settings } = node;
  const quiet: Log = { ...log, warn: (sentence, fields) => log.debug(sentence, fields) };
  return startChild(
    {
      name: "repmgrd",
      file: join(programs.bin, "repmgrd"),
      args: ["-f", config, "--no-pid-file", "--daemonize=false"],
      env: { PATH: `${programs.bin}:/usr/local/bin:/usr/bin:/bin`, HOLDFAST_SOCKET: settings.socketPath },
      ...(owner === null ? {} : { uid: owner.uid, gid: owner.gid }),
      // It ends whenever its primary is not there: that is no fault, and it is started again for as long as the node lives.
      budget: {
        policy: "permanent",
        starts: 1_000_000,
        windowMs: 1_000,
        firstPauseMs: 5_000,
        mostPauseMs: 30_000,
      },
      stop: [{ signal: "SIGTERM", waitMs: 2_000 }],
      onLine: (line) => log.debug(line, { from: "repmgrd" }),
    },
    // It comes and goes with its primary, a few times a minute where there is none.
    { clock, log: { ...log, child: () => quiet } },
  );
}

/** `holdfast-hook hook …` is answered from the mind alone, in milliseconds. */
export function answerHooks(node: NodeContext, cluster: Cluster, verbs: Verbs): void {
  verbs.set("hook", async (args) => {
    const hook = parseHook(args);
    if (hook === null) return { exit: 1, lines: ["this hook is not known"] };
    if (hook.kind === "event") {
      const { nodeId, event, success } = hook;
      node.log.info("repmgr reports", { event, nodeId, success });
    }
    const isServerUp = node.postgres.server !== null;
    const { exit, line } = answerHook(hook, { standing: cluster.mind.standing, isServerUp });
    return { exit, lines: line === "" ? [] : [line] };
  });
}

/** On the primary, until the term is over: who is there, who is not, who follows whom. */
export async function keepRepmgr(
  node: NodeContext,
  cluster: Cluster,
  _sql: Sql,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, postgres, settings, paths } = node;
  const config = {
    port: settings.ports.postgres,
    user: REPLICATION_ROLE,
    passfile: configPaths(paths.marks).passfile,
  };
  let written = "";
  while (!signal.aborted) {
    try {
      const nodes = repmgrNodes(cluster);
      const wish = JSON.stringify(nodes);
      if (wish !== written) {
        const address = await postgres.address("holdfast repmgr", REPMGR_DATABASE);
        await withSql(address, async (sql) => {
          if (!(await hasRepmgr(sql, { signal }))) return;
          if (await writeNodes(sql, nodes, config, { signal }))
            log.info("repmgr's list was brought up to date", {
              active: nodes
                .filter(({ isActive }) => isActive)
                .map(({ member }) => member.name)
                .join(","),
            });
          written = wish;
        });
      }
    } catch (error) {
      if (!signal.aborted) log.debug("repmgr's list could not be written", { because: messageOf(error) });
    }
    await clock.sleep(EVERY_MS, signal).catch(() => undefined);
  }
}

function repmgrNodes(cluster: Cluster): RepmgrNode[] {
  const { mind, settings } = cluster;
  const views = mind.views(cluster.nowMs);
  const names = [...(mind.roster?.members ?? [settings.self.name])].sort();
  return names.map((name) => {
    const isSelf = name === settings.self.name;
    const view = views.find((candidate) => candidate.name === name);
    return {
      member: memberOf(name, cluster.hostOf(name)),
      type: isSelf ? "primary" : "standby",
      isActive: isSelf || (view?.sight.kind !== "gone" && view?.report?.standing === "standby"),
      priority: isSelf ? settings.self.priority : (view?.report?.priority ?? 100),
    };
  });
}

const EVERY_MS = 1_000;
