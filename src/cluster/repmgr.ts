// repmgr's own world: its configuration, its database, its list of nodes. It records and reports; the supervisor decides.

import { one, flag } from "../postgres/queries.ts";
import type { QueryOptions, Sql } from "../postgres/sql.ts";
import { type Member, nodeIdOf } from "./members.ts";

export const REPMGR_DATABASE = "repmgr";

export interface RepmgrConfig {
  readonly self: Member;
  readonly port: number;
  readonly user: string;
  readonly passfile: string;
  readonly dataDirectory: string;
  readonly bin: string;
  readonly hook: string;
  readonly priority: number;
  readonly pidFile: string;
}

/** How members' servers are reached for repmgr; no secret in it. `connect_timeout` and its like must stand in the node's record. */
export function repmgrConninfo(
  { host }: Member,
  { port, user, passfile }: Pick<RepmgrConfig, "port" | "user" | "passfile">,
): string {
  return [
    `host=${host} port=${port} user=${user} dbname=${REPMGR_DATABASE} passfile=${passfile}`,
    "connect_timeout=2 keepalives_idle=2 keepalives_interval=1 keepalives_count=3 tcp_user_timeout=3000",
  ].join(" ");
}

/**
 * repmgr.conf. `failover` is automatic, so that repmgrd watches and reports; its hooks promote nothing. `query` as connection check hangs
 * on a paused primary (reference: repmgr measurements), so it is `ping`; the slots are the supervisor's.
 */
export function renderRepmgrConfig(config: RepmgrConfig): string {
  const { self, hook } = config;
  const values: Record<string, string> = {
    node_id: String(nodeIdOf(self.name)),
    node_name: quoted(self.name),
    conninfo: quoted(repmgrConninfo(self, config)),
    data_directory: quoted(config.dataDirectory),
    pg_bindir: quoted(config.bin),
    location: quoted("default"),
    priority: String(config.priority),
    use_replication_slots: "no",
    failover: quoted("automatic"),
    connection_check_type: quoted("ping"),
    monitor_interval_secs: "1",
    reconnect_attempts: "6",
    reconnect_interval: "2",
    election_rerun_interval: "5",
    primary_notification_timeout: "20",
    promote_check_timeout: "30",
    promote_check_interval: "1",
    primary_visibility_consensus: "true",
    failover_validation_command: quoted(`${hook} hook validate %n %a %v %u %t`),
    promote_command: quoted(`${hook} hook promote`),
    follow_command: quoted(`${hook} hook follow %n`),
    event_notification_command: quoted(`${hook} hook event %n %e %s`),
    service_start_command: quoted(`${hook} hook start`),
    service_stop_command: quoted(`${hook} hook stop`),
    service_restart_command: quoted(`${hook} hook restart`),
    repmgrd_pid_file: quoted(config.pidFile),
    log_level: quoted("NOTICE"),
    log_status_interval: "0",
  };
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}`);
  return ["# Made by Holdfast at every start; changes are lost.", ...lines, ""].join("\n");
}

/** A node as repmgr's table shall have it. */
export interface RepmgrNode {
  readonly member: Member;
  readonly type: "primary" | "standby";
  readonly isActive: boolean;
  readonly priority: number;
}

/** True where the extension's tables are there. */
export async function hasRepmgr(sql: Sql, options?: QueryOptions): Promise<boolean> {
  const row = await one(sql, "select to_regclass('repmgr.nodes') is not null as yes", options);
  return flag(row, "yes");
}

/**
 * Makes repmgr's list say what is: one primary, who follows it, who is there. In one transaction, so that `repmgr cluster show` is never
 * half right. On a primary only. Resolves to whether anything was changed.
 */
export async function writeNodes(
  sql: Sql,
  nodes: readonly RepmgrNode[],
  config: Pick<RepmgrConfig, "port" | "user" | "passfile">,
  options?: QueryOptions,
): Promise<boolean> {
  const primary = nodes.find(({ type }) => type === "primary");
  const rows = nodes.map(({ member, type, isActive, priority }) => ({
    id: nodeIdOf(member.name),
    upstream: type === "primary" || primary === undefined ? null : nodeIdOf(primary.member.name),
    active: isActive,
    name: member.name,
    type,
    priority,
    conninfo: repmgrConninfo(member, config),
    user: config.user,
  }));
  // The wish as JSON; what differs is written, what is not wished for removed. References are checked at the statement's end.
  const text = `
    with wish as (
      select * from json_to_recordset($1::json)
        as w(id int, upstream int, active bool, name text, type text, priority int, conninfo text, "user" text)
    ), gone as (
      delete from repmgr.nodes n where not exists (select 1 from wish w where w.id = n.node_id) returning 1
    ), written as (
      insert into repmgr.nodes as n
        (node_id, upstream_node_id, active, node_name, type, location, priority, conninfo, repluser, config_file)
      select id, upstream, active, name, type, 'default', priority, conninfo, "user", '${CONFIG_FILE}' from wish
      on conflict (node_id) do update set upstream_node_id = excluded.upstream_node_id, active = excluded.active,
        node_name = excluded.node_name, type = excluded.type, priority = excluded.priority,
        conninfo = excluded.conninfo, repluser = excluded.repluser, config_file = excluded.config_file
      where (n.upstream_node_id, n.active, n.node_name, n.type, n.priority, n.conninfo)
        is distinct from (excluded.upstream_node_id, excluded.active, excluded.node_name, excluded.type,
          excluded.priority, excluded.conninfo)
      returning 1
    ) select (select count(*) from gone) + (select count(*) from written) > 0 as changed`;
  const [row] = await sql.query(text, [JSON.stringify(rows)], options);
  return row?.["changed"] === "t";
}

/** Where `repmgr` looks by itself. */
export const CONFIG_FILE = "/etc/repmgr.conf";

const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;
