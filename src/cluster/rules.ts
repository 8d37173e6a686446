// The decisions that a node's mind is made of, as production has them.

import { decideContend } from "./contend.ts";
import { sightOf } from "./detection.ts";
import { decideDoors } from "./doors.ts";
import { decideEvidence } from "./evidence.ts";
import { advanceGate } from "./gate-machine.ts";
import { mayGrant } from "./grants.ts";
import type { Rules } from "./mind-types.ts";
import { claimRoster, planRoster } from "./roster.ts";
import { planSynchronous } from "./synchronous.ts";

export const RULES: Rules = {
  sightOf,
  decideEvidence,
  decideContend,
  advanceGate,
  decideDoors,
  mayGrant,
  claimRoster,
  planRoster,
  planSynchronous,
};
