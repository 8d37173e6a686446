import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { Interrupts } from "../../src/supervisor/interrupts.ts";
import { listenForStop } from "../../src/supervisor/stop-signals.ts";

const asProcess = (emitter: EventEmitter): Pick<NodeJS.Process, "on" | "off"> =>
  emitter as unknown as Pick<NodeJS.Process, "on" | "off">;

for (const first of ["SIGINT", "SIGTERM"])
  test(`signals: ${first} stops, a second one hurries`, () => {
    const emitter = new EventEmitter();
    using stop = listenForStop(silentLog, asProcess(emitter));
    emitter.emit("SIGHUP");
    assert.equal(stop.stopping.aborted, false);
    emitter.emit(first);
    assert.equal(stop.stopping.aborted, true);
    assert.equal(stop.hurry.aborted, false);
    emitter.emit("SIGTERM");
    assert.equal(stop.hurry.aborted, true);
  });

test("signals: after the end nothing listens", () => {
  const emitter = new EventEmitter();
  const stop = listenForStop(silentLog, asProcess(emitter));
  stop[Symbol.dispose]();
  assert.equal(emitter.eventNames().length, 0);
});

test("interrupts: an order ends what runs, not what begins after it", () => {
  const interrupts = new Interrupts();
  const before = interrupts.signal;
  interrupts.interrupt("restore");
  assert.equal(before.aborted, true);
  assert.equal(interrupts.signal.aborted, false);
});
