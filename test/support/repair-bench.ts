// What a test of `holdfast verify --repair` needs: lose segments, look, and see them come back.

import assert from "node:assert/strict";
import type { RepairReport } from "../../src/cli/verify/repair.ts";
import { type ObjectStore, readWhole } from "../../src/storage/object-store.ts";
import { callWalg } from "./call-walg.ts";
import type { Life } from "./lives.ts";

const never = new AbortController().signal;

export interface Verified {
  readonly exit: number;
  readonly verdict: string;
  readonly findings: readonly {
    readonly object: string;
    readonly severity: string;
    readonly fault: string;
  }[];
  readonly repair: RepairReport;
}

export type Env = Readonly<Record<string, string>>;

/** `holdfast verify --json` with more flags. */
export async function verify(env: Env, ...flags: readonly string[]): Promise<Verified> {
  const { exit, stdout, stderr } = await callWalg(["verify", "--json", ...flags], env, {}, "holdfast");
  assert.ok(stdout.startsWith("{"), stderr);
  return { ...(JSON.parse(stdout) as Omit<Verified, "exit">), exit };
}

/** Names of the segments in wal_005, in order. */
export async function segments(store: ObjectStore): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of store.list("wal_005/", never)) {
    const name = /^wal_005\/([0-9A-F]{24})\.lz4$/.exec(key)?.[1];
    if (name !== undefined) names.push(name);
  }
  return names;
}

export const keyOf = (name: string): string => `wal_005/${name}.lz4`;

/** Removes segments; their objects' bytes, as they were. */
export async function lose(
  store: ObjectStore,
  names: readonly string[],
): Promise<ReadonlyMap<string, Uint8Array>> {
  const kept = new Map<string, Uint8Array>();
  for (const name of names) kept.set(name, await readWhole((await store.get(keyOf(name), never))!));
  await store.delete(names.map(keyOf), never);
  return kept;
}

/** The same codec makes the same object of the same segment. */
export async function assertBack(store: ObjectStore, kept: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const [name, bytes] of kept) {
    const object = await store.get(keyOf(name), never);
    assert.ok(object !== null, `${name} is not back`);
    assert.equal(Buffer.compare(await readWhole(object), bytes), 0, `${name} came back with other bytes`);
  }
}

/** What the server of a life is to the command line. */
export const serverEnv = ({ server }: Pick<Life, "server">): Env => ({
  PGHOST: server.host,
  PGPORT: String(server.port),
  PGUSER: "postgres",
});

/** No server answers there. */
export const NOBODY: Env = { PGHOST: "127.0.0.1", PGPORT: "1" };
