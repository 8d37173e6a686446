// Drives a recovering server to where its order ends. No deadline: it waits as long as the store, the disk or the WAL take. What is damaged is
// no reason to wait.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { RestoreCommand } from "../archive/restore-command.ts";
import { ownerFor } from "../archive/serve-file.ts";
import { writeDurably } from "../base/durable-file.ts";
import { messageOf } from "../base/errors.ts";
import { pauseBefore } from "../base/retry.ts";
import { readControlFile } from "../postgres/data-directory.ts";
import type { Parameters } from "../postgres/parameters.ts";
import { showSetting, type WalPositions, walPositions } from "../postgres/queries.ts";
import type { Server } from "../postgres/server.ts";
import { ServerError } from "../postgres/server-error.ts";
import type { Lsn } from "../wal/lsn.ts";
import { judgeReplay, type ReplayVerdict } from "./judge-replay.ts";
import { ReplayError } from "./replay-error.ts";
import {
  type ReplayHost,
  type ReplayOrder,
  type ReplayProgress,
  recoveryParameters,
} from "./replay-order.ts";
import { ReplayMeter } from "./replay-meter.ts";

/** A server in recovery that is started again when it ends for a reason that passes. */
export class Replay {
  readonly #order: ReplayOrder;
  readonly #host: ReplayHost;
  readonly #command: RestoreCommand;
  readonly #meter: ReplayMeter;
  #parameters: Parameters;
  #hasTarget: boolean;
  #server: Server | null = null;
  #endedByItself = 0;
  #restarts = 0;
  /** Ends in a row that a damaged object was the reason for. */
  #damages = 0;
  #toldMs = -Infinity;
  #seen: WalPositions | null = null;

  constructor(order: ReplayOrder, host: ReplayHost, command: RestoreCommand) {
    this.#order = order;
    this.#host = host;
    this.#command = command;
    this.#parameters = recoveryParameters(order);
    this.#hasTarget = order.target.kind !== "latest";
    this.#meter = new ReplayMeter(order.floor);
  }

  get server(): Server {
    if (this.#server === null) throw new ReplayError("Postgres was not started", { startOver: true });
    return this.#server;
  }

  /** standby.signal, never recovery.signal: that one promotes by itself at the first "absent" (G2). */
  async start(): Promise<void> {
    const { dataDirectory } = this.#host;
    await writeDurably(join(dataDirectory, "standby.signal"), "", 0o600, await ownerFor(dataDirectory));
    await rm(join(dataDirectory, "recovery.signal"), { force: true });
    this.#server = await this.#host.start(this.#parameters);
  }

  /**
   * Resolves when the replay has met its target (`paused`, or `promoted` where Postgres went on by itself), has replayed exactly to
   * `recordEnd` (`drained`), or past it. Throws ReplayError when it cannot get there.
   */
  async until(recordEnd: Lsn): Promise<Exclude<ReplayVerdict, { kind: "wait" | "fault" }>> {
    const { clock, signal } = this.#host;
    let restingSince = clock.monotonicMs();
    let seen: Lsn | null = null;
    for (;;) {
      signal.throwIfAborted();
      if (!this.server.running) await this.#startAgain();
      const positions = await this.#look();
      const now = clock.monotonicMs();
      if (positions?.replayed !== seen) {
        seen = positions?.replayed ?? null;
        restingSince = now;
      }
      this.tell("replaying", this.#because(), positions, recordEnd);
      if (positions !== null) {
        const verdict = await this.#judge(positions, recordEnd, now - restingSince);
        if (verdict.kind === "fault")
          throw new ReplayError(verdict.because, { startOver: verdict.startOver });
        if (verdict.kind !== "wait") return verdict;
      }
      await clock.sleep(positions === null ? SLOW_POLL_MS : POLL_MS, signal);
    }
  }

  /** The target was not met and need not be: goes on without it, because Postgres would refuse to promote. False when there was none. */
  async withoutTarget(): Promise<boolean> {
    if (!this.#hasTarget) return false;
    this.#hasTarget = false;
    this.#parameters = { recovery_target_timeline: this.#parameters["recovery_target_timeline"]! };
    await this.stop();
    await this.start();
    return true;
  }

  async stop(): Promise<void> {
    await this.#host.sql.disconnect();
    if (this.#server?.running === true) await this.#server.stop(STOP_LIMITS);
  }

  tell(
    phase: ReplayProgress["phase"],
    because: string,
    positions: WalPositions | null = this.#seen,
    to: Lsn = this.#order.end,
  ): void {
    this.#seen = positions;
    const { clock } = this.#host;
    const now = clock.monotonicMs();
    const replayed = positions?.replayed ?? null;
    const measured = this.#meter.measure(replayed, to, now);
    if (now - this.#toldMs < TELL_EVERY_MS && phase === "replaying") return;
    this.#toldMs = now;
    this.#host.tell({
      phase,
      because,
      replayed,
      from: this.#order.floor,
      to,
      segment: this.#command.status().lastServed,
      replayedAtMs: positions?.replayedAtMs ?? null,
      ...measured,
    });
  }

  #because(): string {
    const { doubt, lastServed } = this.#command.status();
    if (doubt !== null) return `waiting for the archive: ${doubt.because}`;
    return lastServed === null ? "Postgres reads its first file" : `the last file was ${lastServed}`;
  }

  async #look(): Promise<WalPositions | null> {
    try {
      return await walPositions(this.#host.sql, { signal: this.#host.signal });
    } catch (error) {
      // Not consistent yet, or just ending: the next look tells.
      if (error instanceof ServerError) return null;
      throw error;
    }
  }

  async #judge(positions: WalPositions, recordEnd: Lsn, restMs: number): Promise<ReplayVerdict> {
    const { alarms, repeats } = this.#command.status();
    if (alarms[0] !== undefined) return { kind: "fault", because: alarms[0], startOver: true };
    const isStarved = positions.replayPaused && (await this.#isStarved());
    if (isStarved) {
      this.#host.log.warn("the WAL needs larger settings than the server has: starting it again with them");
      await this.stop();
      await this.start();
      return { kind: "wait" };
    }
    const { ending, hasOwnWal } = this.#order;
    return judgeReplay({
      ...{ ending, hasOwnWal, hasTarget: this.#hasTarget, recordEnd, restMs, repeats },
      inRecovery: positions.inRecovery,
      replayed: positions.replayed,
      isPaused: positions.replayPaused,
    });
  }

  /** Postgres 14 and later pause a standby whose settings are smaller than the primary's were, which looks like a target that was met. */
  async #isStarved(): Promise<boolean> {
    const { recoverySettings } = await readControlFile(this.#host.dataDirectory);
    for (const [name, needed] of [
      ["max_connections", recoverySettings.maxConnections],
      ["max_worker_processes", recoverySettings.maxWorkerProcesses],
      ["max_wal_senders", recoverySettings.maxWalSenders],
      ["max_prepared_transactions", recoverySettings.maxPreparedTransactions],
      ["max_locks_per_transaction", recoverySettings.maxLocksPerTransaction],
    ] as const) {
      if (Number(await showSetting(this.#host.sql, name)) < needed) return true;
    }
    return false;
  }

  /** The server ended: at a doubt about a file (255), by a kill, or for good. */
  async #startAgain(): Promise<void> {
    const { clock, log, signal, sql } = this.#host;
    await sql.disconnect();
    const { doubt } = this.#command.status();
    if (doubt === null) this.#endedByItself += 1;
    if (this.#endedByItself > ENDS_MOST) {
      throw new ReplayError(`Postgres ended ${this.#endedByItself} times while it replayed`, {
        startOver: true,
      });
    }
    this.#damages = doubt?.isDamage === true ? this.#damages + 1 : 0;
    if (doubt !== null && this.#damages > DAMAGES_MOST)
      throw new ReplayError(`"${doubt.name}" cannot be replayed: ${doubt.because}`, {
        startOver: false,
        hint: "look at the archive with `holdfast verify --content`; restore to a point before it, or bring a sound copy of the object",
      });
    this.#restarts += 1;
    const pauseMs = pauseBefore(this.#restarts, RESTART);
    log.warn("Postgres ended while it replayed; it is started again", {
      because:
        doubt === null
          ? "it ended by itself"
          : `the archive left a doubt about ${doubt.name}: ${doubt.because}`,
      pauseMs,
    });
    this.tell(
      "waiting",
      doubt === null ? "Postgres is started again" : `the archive is in doubt: ${doubt.because}`,
    );
    await clock.sleep(pauseMs, signal);
    try {
      await this.start();
    } catch (error) {
      throw new ReplayError(`Postgres cannot be started: ${messageOf(error)}`, { startOver: true });
    }
  }
}

const POLL_MS = 50;
const SLOW_POLL_MS = 200;
const TELL_EVERY_MS = 1_000;
const STOP_LIMITS = { fastMs: 60_000, immediateMs: 10_000 } as const;
/** Without a doubt about the archive; a machine that is killed now and then still gets there. */
const ENDS_MOST = 5;
/** A damaged object is read once more, in case the store mended it; then the restore is refused, within two minutes. */
const DAMAGES_MOST = 2;
const RESTART = { firstMs: 500, mostMs: 30_000, tries: Infinity } as const;
