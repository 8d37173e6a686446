// Every parser that reads a bucket or a socket.

import type { FuzzTarget } from "./target.ts";
import { backupTargets } from "./targets-backup.ts";
import { codecTargets } from "./targets-codec.ts";
import { logTargets } from "./targets-log.ts";
import { partTargets } from "./targets-part.ts";
import { wireTargets } from "./targets-wire.ts";

export const fuzzTargets: readonly FuzzTarget[] = [
  ...backupTargets,
  ...partTargets,
  ...codecTargets,
  ...logTargets,
  ...wireTargets,
];
