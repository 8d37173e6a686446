// Whether fencing may rest on this store: asked of it once, when it first answers.

import { randomBytes } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { unreachable } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { pauseBefore } from "../base/retry.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { probeStore } from "../storage/probe.ts";
import type { Fencing } from "../tail/take-over.ts";
import type { NodeState } from "./node-state.ts";

/** Probes until the store gives an answer that proves something; the answer is kept for the life of the process. */
export function makeFencingProbe(
  store: ObjectStore,
  state: NodeState,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): (signal: AbortSignal) => Promise<Fencing> {
  let known: Fencing | null = null;
  return async (signal) => {
    for (let tries = 1; known === null; tries += 1) {
      const outcome = await probeStore(store, {
        token: randomBytes(8).toString("hex"),
        nowMs: clock.now(),
        signal,
      });
      switch (outcome.kind) {
        case "conditional":
          known = "conditional";
          break;
        case "unconditional":
          log.error("the store does not honour conditional writes: a second primary would not be fenced", {
            because: outcome.because,
          });
          state.set({ store: { ...state.view().store, fencing: false } });
          known = "none";
          break;
        case "away":
        case "refused":
          log.warn("the store cannot be probed yet", { because: outcome.because });
          await clock.sleep(pauseBefore(tries, PROBE_BACKOFF), signal);
          break;
        default:
          return unreachable(outcome);
      }
    }
    return known;
  };
}

const PROBE_BACKOFF = { firstMs: 500, mostMs: 15_000, tries: Infinity };
