// Watches the volume in every phase: warns of it, stops writes before it is full, lets them in again by itself.

import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { FULL_BYTES } from "../cluster/full-volume.ts";
import { checkpoint } from "../postgres/queries.ts";
import { ReconnectingSql, withSql } from "../postgres/sql.ts";
import { endWriters } from "../postgres/writers.ts";
import {
  causeOfPressure,
  diskLimits,
  type DiskUse,
  isWorse,
  type Pressure,
  pressureOf,
  takesNoWrites,
} from "./disk-pressure.ts";
import type { NodeContext } from "./node-context.ts";
import { keepReserve, releaseReserve, RESERVE_BYTES } from "./reserve.ts";

/** Until the signal aborts; the view has the volume from the first look on. */
export async function guardDisk(node: NodeContext, signal: AbortSignal): Promise<void> {
  const { clock, log } = node;
  await using guard = new DiskGuard(node);
  let said = "";
  while (!signal.aborted) {
    const trouble = await guard.look(signal).then(() => "", messageOf);
    // Once, not twenty times a second.
    if (trouble !== "" && trouble !== said && !signal.aborted)
      log.warn("the volume could not be guarded", { because: trouble });
    said = trouble;
    await clock.sleep(guard.isCalm ? LOOK_MS : CLOSE_LOOK_MS, signal).catch(() => undefined);
  }
}

class DiskGuard implements AsyncDisposable {
  readonly #node: NodeContext;
  #pressure: Pressure = "none";
  #isCalm = true;
  #closedMs = 0;
  #cutSinceMs: number | null = null;
  #reservedMs = -Infinity;
  #checkpointMs = -Infinity;
  /** Kept while the volume fills: a new connection takes longer than a fast writer leaves. */
  #sql: ReconnectingSql | null = null;

  constructor(node: NodeContext) {
    this.#node = node;
  }

  /** A writer needs some time to fill what is left. */
  get isCalm(): boolean {
    return this.#isCalm;
  }

  async look(signal: AbortSignal): Promise<void> {
    const { paths, settings, state, postgres, clock } = this.#node;
    const found = await statfs(paths.volume);
    const disk: DiskUse = { totalBytes: found.bsize * found.blocks, freeBytes: found.bsize * found.bavail };
    const limits = diskLimits(disk.totalBytes, settings.diskReadOnlyBytes);
    this.#isCalm = limits === null || disk.freeBytes > CALM_TIMES * limits.readOnlyBytes;
    const was = this.#pressure;
    const now = pressureOf(disk, limits, was);
    state.set({ disk: { ...disk, readOnlyBytes: limits?.readOnlyBytes ?? null, pressure: now } });
    if (now !== "cut") this.#cutSinceMs = null;
    else this.#cutSinceMs ??= clock.monotonicMs();
    // Whoever fills the volume would take the reserve too: it is given back when he is done. A hand-over takes it before.
    if (this.#cutSinceMs !== null && clock.monotonicMs() - this.#cutSinceMs >= RELEASE_AFTER_MS)
      await releaseReserve(paths);
    else if (disk.freeBytes >= (limits?.againBytes ?? FULL_BYTES) + RESERVE_BYTES) await this.#reserve();
    if (now !== was) {
      if (takesNoWrites(now) && !takesNoWrites(was)) this.#closedMs = clock.monotonicMs();
      // First the act, then the word: a disk fills while it is talked about.
      await postgres.setReadOnly(takesNoWrites(now));
      this.#pressure = now;
      await this.#tell(disk, now, was);
    }
    if (takesNoWrites(now)) await this.#cut(now === "cut", signal);
    else await this.#forgetSql();
    if (takesNoWrites(now) && disk.freeBytes >= CHECKPOINT_BYTES) this.#checkpoint(signal);
  }

  /** WAL that the archive has by now goes at a checkpoint, and a server without writes makes none by itself. */
  #checkpoint(signal: AbortSignal): void {
    const { postgres, state, clock, log } = this.#node;
    const { postgresUp, role } = state.view();
    const now = clock.monotonicMs();
    if (!postgresUp || role !== "primary" || now - this.#checkpointMs < CHECKPOINT_EVERY_MS) return;
    this.#checkpointMs = now;
    void postgres
      .address("holdfast disk")
      .then((address) => withSql(address, (sql) => checkpoint(sql, { signal })))
      .catch((error: unknown) => {
        if (!signal.aborted) log.debug("no checkpoint was made", { because: messageOf(error) });
      });
  }

  /** Transactions that were writing before, and those of other roles that switched the setting off: what a superuser began since then may clean up. */
  async #cut(isDue: boolean, signal: AbortSignal): Promise<void> {
    const { postgres, state, clock, log } = this.#node;
    const { postgresUp, role } = state.view();
    if (!postgresUp || role !== "primary") return;
    if (this.#sql === null) {
      this.#sql = new ReconnectingSql(await postgres.address("holdfast disk"));
      await this.#sql.query("select 1", [], { signal, timeoutMs: CUT_LIMIT_MS });
    }
    if (!isDue) return;
    const sinceMs = clock.monotonicMs() - this.#closedMs;
    const ended = await endWriters(this.#sql, sinceMs, { signal, timeoutMs: CUT_LIMIT_MS });
    if (ended.length > 0)
      log.error("the volume is full: transactions that wrote were ended", { roles: ended.join(", ") });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#forgetSql();
  }

  async #forgetSql(): Promise<void> {
    const sql = this.#sql;
    this.#sql = null;
    await sql?.[Symbol.asyncDispose]();
  }

  async #reserve(): Promise<void> {
    const { clock, paths } = this.#node;
    if (clock.monotonicMs() - this.#reservedMs < RESERVE_EVERY_MS) return;
    this.#reservedMs = clock.monotonicMs();
    await keepReserve(paths).catch(() => undefined);
  }

  async #tell(disk: DiskUse, now: Pressure, was: Pressure): Promise<void> {
    const { log } = this.#node;
    const usedPercent = Math.round((1 - disk.freeBytes / Math.max(1, disk.totalBytes)) * 100);
    const facts = { usedPercent, freeBytes: disk.freeBytes };
    if (!isWorse(now, was)) {
      if (takesNoWrites(was) && !takesNoWrites(now))
        log.warn("the volume has room again: writes are taken", facts);
      return;
    }
    const holds = await this.#cause(disk);
    if (takesNoWrites(now) && !takesNoWrites(was))
      log.error("the volume is nearly full: no writes are taken until there is room", { ...facts, holds });
    else if (!takesNoWrites(now)) log.warn("the volume is filling up", { ...facts, holds });
  }

  async #cause(disk: DiskUse): Promise<string> {
    const { state, paths } = this.#node;
    const { slotRetainedBytes, slotBehind } = state.view();
    const folder = join(paths.dataDirectory, "pg_wal");
    // Counted here: what is measured every few seconds is too old when a disk fills.
    const names = await segmentsIn(folder, "");
    const ready = await segmentsIn(join(folder, "archive_status"), ".ready");
    const [first] = names;
    const segmentBytes =
      first === undefined
        ? 0
        : await stat(join(folder, first)).then(
            ({ size }) => size,
            () => 0,
          );
    return causeOfPressure({
      ...disk,
      walBytes: names.length * segmentBytes,
      waitingBytes: ready.length * segmentBytes,
      slotBytes: slotRetainedBytes ?? 0,
      slotName: slotBehind,
    });
  }
}

async function segmentsIn(folder: string, suffix: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => /^[0-9A-F]{24}$/.test(name.slice(0, 24)) && name.slice(24) === suffix);
}

const LOOK_MS = 250;
const CALM_TIMES = 4;
/** A disk takes some hundred megabytes a second. */
const CLOSE_LOOK_MS = 50;
const RELEASE_AFTER_MS = 2_000;
const RESERVE_EVERY_MS = 10_000;
const CUT_LIMIT_MS = 5_000;
const CHECKPOINT_EVERY_MS = 15_000;
/** Its record may need a new segment. */
const CHECKPOINT_BYTES = 32 * 1024 * 1024;
