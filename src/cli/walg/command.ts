// What a WAL-G command is, and what it gets to work with.

import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { CipherKey } from "../../codec/encryption.ts";
import type { Codec } from "../../codec/seal.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import type { Lsn } from "../../wal/lsn.ts";
import type { TimelineId } from "../../wal/segment-name.ts";
import type { CommandContext } from "../commands.ts";
import type { NamedStore } from "../../storage/failover-store.ts";
import { type Flag, parseBool, UsageError } from "./flags.ts";

export interface WalgCommand {
  /** Words after the program: `delete retain`. */
  readonly path: string;
  readonly summary: string;
  /** The last word with its arguments: `retain [FULL|FIND_FULL] backup_count`. */
  readonly use: string;
  readonly examples: readonly string[];
  readonly flags: readonly Flag[];
  /** Not in help; `wal-prefetch` is one. */
  readonly hidden?: boolean;
  /** Offered under this name alone. */
  readonly only?: "holdfast";
  /** Throws UsageError for arguments (flags taken out) that the command does not take. */
  readonly check: (args: readonly string[], flags: FlagValues, clock: Clock) => void;
  readonly run: (call: Call) => Promise<number>;
}

/** One call of a command. */
export interface Call {
  readonly args: readonly string[];
  readonly flags: FlagValues;
  /** The program's name and streams. */
  readonly context: CommandContext;
  /** The environment with the configuration file and the settings given as flags laid over it. */
  readonly settings: Settings;
  readonly log: Log;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly print: (text: string) => void;
  /** The store of the settings, opened at the first call; with failover storages all of them as one. */
  readonly openStore: () => Promise<ObjectStore>;
  /** Each storage by itself; only the one that a flag names, if one does. */
  readonly openMembers: () => Promise<readonly NamedStore[]>;
  /** Each storage by itself, whatever a flag names. */
  readonly openAllMembers: () => Promise<readonly NamedStore[]>;
  /** Compression and encryption of the settings; refuses settings that would leave data in the clear. */
  readonly openCodec: () => Promise<Codec>;
  /** The same as plain data for worker threads. It holds the key: never log it. */
  readonly openKey: () => Promise<CipherKey>;
  /** Asks the server of the settings where it writes. */
  readonly askPosition: () => Promise<ServerPosition>;
}

/** Where a server writes, or on a standby what it has received. */
export interface ServerPosition {
  readonly timeline: TimelineId;
  readonly lsn: Lsn;
}

/** The flags of a call. */
export class FlagValues {
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  isOn(name: string): boolean {
    return this.#values.get(name) === "true";
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  text(name: string): string | undefined {
    return this.#values.get(name);
  }
}

/** Settings by WAL-G's names; `WALE_` is an older spelling of `WALG_`. */
export class Settings {
  readonly #values: Readonly<Record<string, string | undefined>>;

  constructor(values: Readonly<Record<string, string | undefined>>) {
    this.#values = values;
  }

  /** All of them, as an environment. */
  get env(): Readonly<Record<string, string | undefined>> {
    return this.#values;
  }

  /** The value, or undefined when it is not set or empty. */
  text(name: string): string | undefined {
    const value = this.#values[name] ?? this.#values[name.replace(/^WALG_/, "WALE_")];
    return value === "" ? undefined : value;
  }

  isOn(name: string): boolean {
    const text = this.text(name);
    if (text === undefined) return false;
    const value = parseBool(text);
    if (value === null) throw new UsageError(`${name}: "${text}" is neither true nor false`);
    return value;
  }

  /** A whole number ≥ 0. */
  count(name: string, otherwise: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    if (!/^\d{1,15}$/.test(text)) throw new UsageError(`${name}: "${text}" is not a whole number`);
    return Number(text);
  }

  /** WALG_PG_WAL_SIZE in bytes; it is in MiB. */
  get segmentBytes(): number {
    return this.count("WALG_PG_WAL_SIZE", 16) * (1 << 20);
  }
}

/** For `check`: between `least` and `most` arguments, with cobra's sentence otherwise. */
export function argumentCount(least: number, most: number): WalgCommand["check"] {
  return (args) => {
    if (args.length >= least && args.length <= most) return;
    const wanted =
      least === most
        ? `accepts ${least} arg(s), received ${args.length}`
        : args.length < least
          ? `requires at least ${least} arg(s), only received ${args.length}`
          : `accepts at most ${most} arg(s), received ${args.length}`;
    throw new UsageError(wanted);
  };
}
