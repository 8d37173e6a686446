// A small log as its owners would have written it: two owners, data, a gap, a promotion, and a base.

import { noCipher } from "../../../src/codec/encryption.ts";
import { baseKey, slotKey } from "../../../src/tail/keys.ts";
import type { ClusterIdentity } from "../../../src/tail/run.ts";
import {
  type BaseHeader,
  type FencePurpose,
  type HeaderDraft,
  NO_HASH,
  NO_PROMOTION,
  type SlotHeader,
  WINDOW,
  buildObject,
} from "../../../src/tail/slot.ts";
import { addBytes } from "../../../src/wal/lsn.ts";
import { rootPath } from "../../../src/wal/timeline-path.ts";
import { WalBuilder } from "../wal-builder.ts";

export interface BuiltLog {
  readonly identity: ClusterIdentity;
  readonly objects: ReadonlyMap<string, Uint8Array>;
}

type Draft = HeaderDraft<SlotHeader>;
type Own = Omit<Draft, "systemId" | "seq" | "epoch" | "token" | "previous" | "node">;

/** Deterministic, so that a find is the same in every process. */
export async function buildLog(): Promise<BuiltLog> {
  const wal = new WalBuilder({ segmentBytes: 1 << 20 });
  const objects = new Map<string, Uint8Array>();
  const { systemId, segmentBytes, start } = wal;
  let [seq, epoch, token, previous] = [0, 0, "aa".repeat(16), NO_HASH];
  const codec = { compression: { method: "zstd" }, cipher: noCipher } as const;
  const put = async (own: object, body: Uint8Array): Promise<void> => {
    const draft = { systemId, seq, epoch, token, previous, node: "node-a", ...(own as Own) } as Draft;
    const object = await buildObject<SlotHeader>(draft, body, codec);
    objects.set(slotKey(seq), object.bytes);
    previous = object.headerHash;
    seq += draft.kind === "fence" ? WINDOW : 1;
  };
  const fence = async (name: string, purpose: FencePurpose): Promise<void> => {
    epoch = seq;
    token = name.repeat(16);
    await put({ kind: "fence", purpose }, new Uint8Array(0));
  };
  let at = start;
  const data = async (timeline: number): Promise<void> => {
    const from = at;
    wal.record({ bytes: 3000 });
    at = wal.commit(1_790_000_000_000).end;
    const range = { timeline, start: from, end: at, newestCommit: 1_790_000_000_000 };
    await put({ kind: "data", ...range }, wal.bytes(from, at));
  };
  await fence("ab", "start");
  await data(1);
  await data(1);
  const base: HeaderDraft<BaseHeader> = {
    ...{
      kind: "base",
      systemId,
      seq,
      epoch,
      token,
      previous,
      node: "node-a",
      timeline: 1,
      promotion: NO_PROMOTION,
    },
    ...{
      line: rootPath(1),
      begin: start,
      end: at,
      published: start,
      lastTimeline: 1,
      fences: [0],
      histories: [],
    },
  };
  const built = await buildObject<BaseHeader>(base, wal.bytes(start, at), codec);
  await data(1);
  await fence("cd", "promote");
  const fork = at;
  const text = `1\t${formatPosition(fork)}\tno recovery target specified\n`;
  const promotion = "ef".repeat(16);
  await put({ kind: "history", timeline: 2, parent: 1, fork, promotion, cut: false }, Buffer.from(text));
  await data(2);
  await put({ kind: "gap", timeline: 2, start: at, end: addBytes(at, 8192) }, new Uint8Array(0));
  at = addBytes(at, 8192);
  objects.set(baseKey(base.seq), built.bytes);
  return { identity: { systemId, segmentBytes }, objects };
}

const formatPosition = (lsn: bigint): string =>
  `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase();
