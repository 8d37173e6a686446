import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock, waitUntil } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import {
  isCronExpression,
  isOverdue,
  type ScheduleOptions,
  startSchedule,
} from "../../src/supervisor/schedule.ts";

function options(change: Partial<ScheduleOptions>, end: AbortController): ScheduleOptions {
  return {
    name: "trial",
    expression: null,
    work: async () => undefined,
    mayRun: () => true,
    clock: systemClock,
    log: silentLog,
    signal: end.signal,
    backoff: { firstMs: 5, mostMs: 10, tries: Infinity },
    ...change,
  };
}

test("schedule: two callers get one run", async () => {
  const end = new AbortController();
  let runs = 0;
  const schedule = startSchedule(
    options(
      {
        work: async () => {
          runs += 1;
          await systemClock.sleep(20);
        },
      },
      end,
    ),
  );
  await Promise.all([schedule.runNow(), schedule.runNow()]);
  assert.equal(runs, 1);
  assert.equal(schedule.runningSinceMs(), null);
  end.abort();
});

test("schedule: a failed run is repeated soon, and its trouble is told until it succeeds", async () => {
  const end = new AbortController();
  const seen: (number | undefined)[] = [];
  let runs = 0;
  const schedule = startSchedule(
    options(
      {
        work: async () => {
          seen.push(schedule.trouble()?.failures);
          runs += 1;
          if (runs < 3) throw new Error("the store is away");
        },
      },
      end,
    ),
  );
  await schedule.runNow();
  assert.deepEqual(seen, [undefined, 1, 2]);
  assert.equal(schedule.trouble(), null);
  end.abort();
});

test("schedule: who may not run does not, and who loses the right stops repeating", async () => {
  const end = new AbortController();
  let allowed = false;
  let runs = 0;
  const schedule = startSchedule(
    options(
      {
        mayRun: () => allowed,
        work: async () => {
          runs += 1;
          allowed = false;
          throw new Error("lost");
        },
      },
      end,
    ),
  );
  await schedule.runNow();
  assert.equal(runs, 0);
  allowed = true;
  await schedule.runNow();
  assert.equal(runs, 1);
  end.abort();
});

test("schedule: the clock runs it, and the end stops the clock", async () => {
  const end = new AbortController();
  let runs = 0;
  const schedule = startSchedule(
    options(
      {
        expression: "* * * * * *",
        work: async () => {
          runs += 1;
        },
      },
      end,
    ),
  );
  assert.ok((schedule.nextMs() ?? 0) > Date.now());
  assert.ok(await waitUntil(async () => runs > 0, 5_000, { clock: systemClock, pollMs: 20 }));
  end.abort();
  const before = runs;
  await systemClock.sleep(1_300);
  assert.equal(runs, before);
});

test("schedule: expressions", () => {
  assert.equal(isCronExpression("0 3 * * *"), true);
  assert.equal(isCronExpression("0 99 * * *"), false);
});

test("schedule: a run that was missed is made up for, one that was not due is not", () => {
  const day = 86_400_000;
  const next = [new Date(10 * day), new Date(11 * day)];
  assert.equal(isOverdue(next, 9 * day - 1, 10 * day - 1), false);
  assert.equal(isOverdue(next, 8 * day, 10 * day - 1), true);
  assert.equal(isOverdue(next, null, 10 * day), false);
});
