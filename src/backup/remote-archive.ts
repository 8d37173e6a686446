// One tar of a base backup as the server sends it, taken apart into the members of a backup's parts.

import { AppError } from "../base/errors.ts";
import { CONTROL_FILE, isKept } from "./backup-exclusions.ts";
import { memberPath } from "./member-path.ts";
import type { TarMember } from "./tar-header.ts";
import { type MemberSink, TarError, type TarMemberHead, TarSink } from "./tar-sink.ts";

/** What goes into a part next. */
export type ArchiveStep =
  | { readonly kind: "member"; readonly member: TarMember }
  | { readonly kind: "data"; readonly bytes: Uint8Array };

/** A member that goes into a tar of its own: backup_label, tablespace_map, or the control file. */
export interface HeldMember {
  readonly head: TarMemberHead;
  readonly bytes: Uint8Array;
}

/** Push what the server sends, then `end`. */
export class RemoteArchive {
  /** By tar name: `/backup_label`, `/tablespace_map`, `/global/pg_control`. */
  readonly held = new Map<string, HeldMember>();
  readonly #below: string;
  readonly #tar: TarSink;
  #steps: ArchiveStep[] = [];

  /** `tablespace` is the OID of the tablespace whose archive this is; null: the data directory's. */
  constructor(tablespace: string | null) {
    this.#below = tablespace === null ? "" : `/pg_tblspc/${tablespace}`;
    this.#tar = new TarSink((head) => this.#open(head));
  }

  /** The steps that these bytes bring; they share the memory. Throws AppError on what is no tar. */
  push(bytes: Uint8Array): readonly ArchiveStep[] {
    this.#steps = [];
    this.#checked(() => this.#tar.push(bytes));
    return this.#steps;
  }

  /** Throws AppError unless the tar ended where it may end. */
  end(): void {
    this.#checked(() => this.#tar.end());
  }

  #open(head: TarMemberHead): MemberSink | null {
    const path = memberPath(head.name, "the server's base backup");
    const name = `${this.#below}/${path}`;
    if (path === "" || (head.kind !== "file" && head.kind !== "directory")) return null; // links of tablespaces
    if (head.kind === "file" && HELD.has(name)) return this.#hold(name, head);
    if (!isKept(name, head.kind)) return null;
    this.#steps.push({ kind: "member", member: memberOf(name, head.kind, head) });
    if (head.kind === "directory") return null;
    return {
      write: (bytes) => void this.#steps.push({ kind: "data", bytes }),
      close: () => undefined,
    };
  }

  #hold(name: string, head: TarMemberHead): MemberSink {
    if (head.bytes > HELD_BYTES_MOST) throw new TarError(`"${name}" has ${head.bytes} bytes`);
    const pieces: Uint8Array[] = [];
    const keep = (): void => void this.held.set(name, { head, bytes: Buffer.concat(pieces) });
    if (head.bytes === 0) keep();
    return { write: (bytes) => void pieces.push(Uint8Array.from(bytes)), close: keep };
  }

  #checked(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof TarError)) throw error;
      throw new AppError(`the server's base backup is no tar: ${error.message}`, {
        code: "BASE_BACKUP_FORMAT",
        hint: "look for a proxy between here and the server that does not know the replication protocol",
        cause: error,
      });
    }
  }
}

/** The root's header, which the server does not send; owner and time are those of `like`. */
export const rootLike = (like: TarMember): TarMember => ({
  ...like,
  name: "/",
  kind: "directory",
  mode: 0o700,
  bytes: 0,
});

function memberOf(name: string, kind: "file" | "directory", head: TarMemberHead): TarMember {
  const { mode, uid, gid, bytes, mtimeSeconds } = head;
  return { name, kind, mode, uid, gid, userName: "", groupName: "", bytes, mtimeSeconds };
}

export const LABEL_FILE = "/backup_label";
export const MAP_FILE = "/tablespace_map";
const HELD: ReadonlySet<string> = new Set([LABEL_FILE, MAP_FILE, CONTROL_FILE]);
/** A tablespace_map of a hundred thousand tablespaces has some 10 MB. */
const HELD_BYTES_MOST = 64 << 20;
