// The objects of a pgBackRest repository below a store's prefix. Read only.

import { decompress, type ReadMethod } from "../../codec/compression.ts";
import { type ObjectStore, readWhole } from "../../storage/object-store.ts";
import { type BackupInfo, databasesOf, parseSections, PgBackRestError, readBackupInfo } from "./info.ts";
import { type Manifest, type ManifestFile, readManifest } from "./manifest.ts";

export type RepositoryStore = Pick<ObjectStore, "name" | "get" | "list">;

/** One segment, partial segment or history file of the archive. */
export interface ArchivedFile {
  readonly key: string;
  /** As Postgres calls it. */
  readonly name: string;
  /** SHA-1 of the plain bytes; null for history files. */
  readonly sha1: string | null;
  readonly method: ReadMethod;
}

/** One stanza of a repository. */
export class Repository {
  readonly #store: RepositoryStore;
  readonly #stanza: string;

  constructor(store: RepositoryStore, stanza: string) {
    this.#store = store;
    this.#stanza = stanza;
  }

  async backupInfo(signal: AbortSignal): Promise<BackupInfo> {
    const key = `backup/${this.#stanza}/backup.info`;
    return readBackupInfo(await this.#text(key, signal), key);
  }

  async manifest(label: string, signal: AbortSignal): Promise<Manifest> {
    const key = `backup/${this.#stanza}/${label}/backup.manifest`;
    return readManifest(await this.#text(key, signal), key);
  }

  /** The plain bytes of a file of a backup. */
  async open(
    file: ManifestFile,
    manifest: Manifest,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const { key, range } = this.#placeOf(file, manifest);
    const object = await this.#store.get(key, signal, range);
    if (object === null) throw new PgBackRestError(key, `is missing, and "${file.name}" is in it`);
    return decompress(methodOf(manifest.extension), object.body);
  }

  #placeOf(
    file: ManifestFile,
    { extension }: Manifest,
  ): { readonly key: string; readonly range?: { readonly start: number; readonly end: number } } {
    const folder = `backup/${this.#stanza}/${file.label}`;
    if (file.bundle === null)
      return { key: `${folder}/${file.name}${extension === "" ? "" : `.${extension}`}` };
    const { id, offset } = file.bundle;
    return { key: `${folder}/bundle/${id}`, range: { start: offset, end: offset + file.storedBytes } };
  }

  /** Folders of the archive, that of the newest database first: `15-1`. */
  async archiveIds(signal: AbortSignal): Promise<readonly string[]> {
    const key = `archive/${this.#stanza}/archive.info`;
    const databases = databasesOf(parseSections(await this.#text(key, signal), key), key);
    return [...databases].toSorted(([a], [b]) => b - a).map(([id, { version }]) => `${version}-${id}`);
  }

  /** Everything that the archive holds of one database. */
  async *listArchive(id: string, signal: AbortSignal, prefix = ""): AsyncGenerator<ArchivedFile> {
    const folder = `archive/${this.#stanza}/${id}/`;
    for await (const { key } of this.#store.list(folder + prefix, signal)) {
      const file = archivedFile(key);
      if (file !== null) yield file;
    }
  }

  /** The plain bytes of an archived file, checked against the SHA-1 in its name. */
  async readArchived(file: ArchivedFile, signal: AbortSignal): Promise<Uint8Array> {
    const object = await this.#store.get(file.key, signal);
    if (object === null) throw new PgBackRestError(file.key, "is missing");
    const pieces: Uint8Array[] = [];
    for await (const piece of decompress(file.method, object.body)) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    if (file.sha1 === null) return bytes;
    const { createHash } = await import("node:crypto");
    const sha1 = createHash("sha1").update(bytes).digest("hex");
    if (sha1 !== file.sha1)
      throw new PgBackRestError(file.key, `has the SHA-1 ${sha1}, not the one in its name`);
    return bytes;
  }

  async #text(key: string, signal: AbortSignal): Promise<string> {
    const object = (await this.#store.get(key, signal)) ?? (await this.#store.get(`${key}.copy`, signal));
    if (object === null) {
      throw new PgBackRestError(
        key,
        `is missing in ${this.#store.name}`,
        "check the prefix, and PGBACKREST_STANZA for the stanza's name",
      );
    }
    return Buffer.from(await readWhole(object, TEXT_BYTES_MOST)).toString("utf8");
  }
}

/** `<segment>[.partial]-<sha1>[.ext]` or `<timeline>.history`. */
function archivedFile(key: string): ArchivedFile | null {
  const base = key.slice(key.lastIndexOf("/") + 1);
  const segment = /^([0-9A-F]{24}(?:\.partial)?)-([0-9a-f]{40})(?:\.(gz|lz4|zst))?$/.exec(base);
  if (segment !== null) {
    return { key, name: segment[1]!, sha1: segment[2]!, method: methodOf(segment[3] ?? "") };
  }
  return /^[0-9A-F]{8}\.history$/.test(base) ? { key, name: base, sha1: null, method: "none" } : null;
}

function methodOf(extension: string): ReadMethod {
  switch (extension) {
    case "gz":
      return "gzip";
    case "lz4":
      return "lz4";
    case "zst":
      return "zstd";
    default:
      return "none";
  }
}

const TEXT_BYTES_MOST = 1 << 30;
