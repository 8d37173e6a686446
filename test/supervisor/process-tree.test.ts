// Real processes that behave badly on purpose.

import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock, waitUntil } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Child, type ChildSpec, spawnProgram, startChild } from "../../src/supervisor/process-tree.ts";

const tools = { clock: systemClock, log: silentLog };

function shell(script: string, change: Partial<ChildSpec> = {}): { child: Child; lines: string[] } {
  const lines: string[] = [];
  const child = startChild(
    {
      name: "fake",
      file: "/bin/sh",
      args: ["-c", script],
      env: { FAKE: "yes" },
      budget: { policy: "permanent", starts: 3, windowMs: 60_000, firstPauseMs: 10, mostPauseMs: 20 },
      stop: [{ signal: "SIGTERM", waitMs: 3_000 }],
      onLine: (line) => lines.push(line),
      ...change,
    },
    tools,
  );
  return { child, lines };
}

const seen = async (lines: string[], line: string): Promise<void> => {
  assert.ok(
    await waitUntil(async () => lines.includes(line), 5_000, { clock: systemClock, pollMs: 5 }),
    lines.join(),
  );
};

test("child: a killed child comes back, until its budget is used up", async () => {
  const { child, lines } = shell("echo up; exec sleep 60");
  for (let start = 1; start <= 3; start += 1) {
    assert.ok(
      await waitUntil(async () => lines.length === start && child.pid() !== null, 5_000, {
        clock: systemClock,
        pollMs: 5,
      }),
    );
    process.kill(child.pid()!, "SIGKILL");
  }
  const end = await child.ended;
  assert.equal(end.kind, "gave-up");
  assert.match(end.kind === "gave-up" ? end.because : "", /SIGKILL and started 3 times/);
});

test("child: it inherits nothing but PATH and LANG", async () => {
  process.env["AWS_SECRET_ACCESS_KEY"] = "not-for-children";
  const { child, lines } = shell("env | sort; echo done", {
    budget: { policy: "temporary", starts: 1, windowMs: 1, firstPauseMs: 1, mostPauseMs: 1 },
  });
  assert.equal((await child.ended).kind, "left");
  delete process.env["AWS_SECRET_ACCESS_KEY"];
  assert.deepEqual(
    lines
      .map((line) => line.split("=")[0])
      .filter((name) => !["PWD", "SHLVL", "_", "OLDPWD"].includes(name!)),
    ["FAKE", "LANG", "PATH", "done"],
  );
});

test("child: a terminal's Ctrl-C does not reach it behind the supervisor's back", async () => {
  const { child, lines } = shell("echo $$ $(cut -d' ' -f5,6 /proc/$$/stat); exec sleep 60");
  assert.ok(
    await waitUntil(async () => lines.length === 1, 5_000, { clock: systemClock, pollMs: 5 }),
    "the child tells",
  );
  const [pid, group, session] = lines[0]!.split(" ");
  assert.deepEqual([group, session], [pid, pid], "it leads a session of its own");
  await child.stop();
});

test("child: a stop goes through its signals in order and ends with SIGKILL", async () => {
  const { child, lines } = shell(
    "trap 'echo term' TERM; trap 'echo int' INT; echo up; while :; do sleep 0.05; done",
    {
      stop: [
        { signal: "SIGINT", waitMs: 200 },
        { signal: "SIGTERM", waitMs: 200 },
      ],
    },
  );
  await seen(lines, "up");
  await child.stop();
  assert.equal((await child.ended).kind, "stopped");
  assert.deepEqual(lines.slice(0, 3), ["up", "int", "term"]);
});

test("child: a second stop hurries", async () => {
  const { child, lines } = shell("trap '' TERM; echo up; while :; do sleep 0.05; done", {
    stop: [{ signal: "SIGTERM", waitMs: 60_000 }],
  });
  await seen(lines, "up");
  const first = child.stop();
  await systemClock.sleep(50);
  await child.stop();
  await first;
});

test("child: a program that is not there uses up its budget", async () => {
  const { child } = shell("", { file: "/no/such/program" });
  const end = await child.ended;
  assert.equal(end.kind, "gave-up");
  assert.match(end.kind === "gave-up" ? end.because : "", /status 127/);
});

test("program: its end is known although a frozen process that it left behind holds its output", async (t) => {
  let orphan = 0;
  const program = spawnProgram(
    { file: "/bin/sh", args: ["-c", "sleep 60 & echo $!; wait"], env: {} },
    (line) => (orphan = Number(line)),
  );
  t.after(() => process.kill(orphan, "SIGKILL"));
  assert.ok(await waitUntil(async () => orphan > 0, 5_000, { clock: systemClock, pollMs: 5 }));
  process.kill(orphan, "SIGSTOP");
  program.kill("SIGKILL");
  assert.deepEqual(await program.exited, { code: null, signal: "SIGKILL" });
});
