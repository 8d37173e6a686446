// What a well standby of a small cluster says of itself, and how another member sees it.

import type { Sight } from "../../src/cluster/detection.ts";
import type { MemberView } from "../../src/cluster/evidence.ts";
import type { Report } from "../../src/cluster/report.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

export const ALIVE: Sight = { kind: "alive" };

/** A streaming standby at 0/1000 on timeline 1, with what `more` says instead. */
export const standbyReport = (name: string, more: Partial<Report> = {}): Report => ({
  name,
  region: "fra",
  priority: 100,
  eligible: true,
  incarnation: "i",
  build: "1",
  upSeconds: 600,
  systemId: "1",
  volume: "v",
  standing: "standby",
  accepting: false,
  epoch: null,
  timeline: 1,
  recordEnd: parseLsn("0/1000"),
  replayed: parseLsn("0/1000"),
  durable: null,
  streaming: true,
  primary: null,
  gateForMs: null,
  storeAgoMs: null,
  freeBytes: null,
  ...more,
});

/** The same as seen by another member that heard it at `reportMs`. */
export const viewOf = (name: string, sight: Sight, more: Partial<Report> = {}, reportMs = 0): MemberView => ({
  name,
  sight,
  report: standbyReport(name, more),
  reportMs,
});
