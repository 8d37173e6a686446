// Who belongs, what each is called, and who may lead.

import { createHash } from "node:crypto";
import { AppError, EXIT } from "../base/errors.ts";

/** One member by its stable name; the address is looked up anew at every connection. */
export interface Member {
  /** Plain: letters, digits, `-`, `_`, `.`; repmgr's node_name, application_name and part of the slot's name. */
  readonly name: string;
  /** A DNS name. */
  readonly host: string;
}

/** Who may be promoted, as postgres-flex has it: only the primary region, unless told otherwise. */
export interface LeadRule {
  /** Null: every region may lead. */
  readonly primaryRegion: string | null;
  readonly anyRegion: boolean;
}

export class MembersError extends AppError {
  constructor(message: string, hint: string) {
    super(message, { code: "CLUSTER_MEMBERS", hint, exitStatus: EXIT.usage });
  }
}

/**
 * Reads `NODES`: names or `name=host`, separated by commas or blanks; a member without a host is reached by its name. Throws
 * MembersError when a name is not plain, stands there twice, or this node's own name is missing.
 */
export function parseNodes(text: string, ownName: string): readonly Member[] {
  const members = text
    .split(/[\s,]+/)
    .filter((item) => item !== "")
    .map((item) => {
      const [name = "", host = name] = item.split("=", 2);
      return memberOf(name, host);
    });
  const names = new Set(members.map(({ name }) => name));
  if (names.size !== members.length)
    throw new MembersError(`NODES names a member twice: "${text}"`, "give every node its own name");
  if (!names.has(ownName))
    throw new MembersError(
      `this node is called "${ownName}" and NODES is "${text}"`,
      "start the container with --name and --hostname of one of NODES, or set NODE_NAME",
    );
  return members;
}

/** A member with a checked name. Throws MembersError. */
export function memberOf(name: string, host: string): Member {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,53}$/.test(name))
    throw new MembersError(
      `"${name}" cannot be a node's name`,
      "use at most 54 letters, digits, dots, dashes and underscores",
    );
  return { name, host };
}

/** A Fly machine: its name is its id, which outlives volumes, addresses and migrations. */
export const flyMember = (machineId: string, app: string): Member =>
  memberOf(machineId, `${machineId}.vm.${app}.internal`);

/** Reads the TXT record `vms.<app>.internal` ("id region,id region"): the started machines. */
export function parseFlyMachines(texts: readonly string[]): readonly { id: string; region: string }[] {
  return texts
    .join("")
    .split(",")
    .map((item) => item.trim().split(/\s+/))
    .filter((words) => words.length === 2 && /^[0-9a-f]{6,32}$/.test(words[0]!))
    .map(([id, region]) => ({ id: id!, region: region! }));
}

/** May this member be promoted by itself? Priority 0 is never; another region only where allowed. */
export function isEligible(region: string, priority: number, rule: LeadRule): boolean {
  if (priority <= 0) return false;
  return rule.anyRegion || rule.primaryRegion === null || region === rule.primaryRegion;
}

/** repmgr's node_id: the same on every node and for ever, from the name alone. 1 … 2^31 - 1. */
export function nodeIdOf(name: string): number {
  const hash = createHash("sha256").update(name).digest();
  return (hash.readUInt32BE(0) % 0x7fff_fffe) + 1;
}

/** The physical slot of a member: at most 63 characters of [a-z0-9_]. */
export function memberSlotName(name: string): string {
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9_]/g, "_");
  // Two names may become one: the id tells them apart.
  return `holdfast_${plain.slice(0, 40)}_${nodeIdOf(name).toString(36)}`;
}
