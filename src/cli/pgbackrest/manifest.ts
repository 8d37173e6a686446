// backup.manifest of a pgBackRest backup: every file, which backup holds it, and where.

import { membersOf, parseSections, PgBackRestError, type Sections, textOf, wholeNumber } from "./info.ts";

export interface ManifestFile {
  /** As in the manifest: `pg_data/base/5/1247`, `pg_tblspc/16385/PG_15_…/5/16386`. */
  readonly name: string;
  readonly bytes: number;
  readonly storedBytes: number;
  /** SHA-1 of the plain bytes, hex; null for an empty file. */
  readonly sha1: string | null;
  readonly mode: number;
  /** Label of the backup that holds it. */
  readonly label: string;
  /** In a bundle: its number and the offset within; null: an object of its own. */
  readonly bundle: { readonly id: number; readonly offset: number } | null;
}

export interface Manifest {
  readonly label: string;
  /** Extension of stored files without a dot; empty: not compressed. */
  readonly extension: string;
  readonly files: readonly ManifestFile[];
  readonly paths: readonly { readonly name: string; readonly mode: number }[];
  readonly links: readonly { readonly name: string; readonly destination: string }[];
}

/** Throws PgBackRestError for what cannot be restored here: encryption, block increments, bzip2. */
export function readManifest(text: string, object: string): Manifest {
  const sections = parseSections(text, object);
  const label = textOf(sections.get("backup")?.get("backup-label"));
  const fileDefault = modeOf(defaultsOf(sections, "target:file:default")["mode"], 0o600);
  const pathDefault = modeOf(defaultsOf(sections, "target:path:default")["mode"], 0o700);
  const files = [...(sections.get("target:file") ?? [])].map(([name, value]): ManifestFile => {
    const members = membersOf(value);
    const isBlockIncrement = ["bims", "bis", "bi"].some((key) => key in members);
    if (isBlockIncrement) {
      throw new PgBackRestError(
        object,
        `"${name}" is stored as a block increment`,
        "restore with pgBackRest itself, or take a backup without repo-block",
      );
    }
    const reference = members["reference"];
    const count = (key: string, value = members[key] ?? 0): number =>
      wholeNumber(value, `"${key}" of "${name}"`, object);
    return {
      name: checkedName(name, object),
      bytes: count("size"),
      storedBytes: count("repo-size", members["repo-size"] ?? members["size"] ?? 0),
      sha1: typeof members["checksum"] === "string" ? members["checksum"] : null,
      mode: modeOf(members["mode"], fileDefault),
      label: typeof reference === "string" ? reference : label,
      bundle: members["bni"] === undefined ? null : { id: count("bni"), offset: count("bno") },
    };
  });
  return {
    label,
    extension: extensionOf(sections, object),
    files,
    paths: [...(sections.get("target:path") ?? [])].map(([name, value]) => ({
      name: checkedName(name, object),
      mode: modeOf(membersOf(value)["mode"], pathDefault),
    })),
    links: [...(sections.get("target:link") ?? [])].map(([name, value]) => ({
      name: checkedName(name, object),
      destination: textOf(membersOf(value)["destination"]),
    })),
  };
}

function extensionOf(sections: Sections, object: string): string {
  const options = sections.get("backup:option");
  const type =
    options?.get("option-compress-type") ?? (options?.get("option-compress") === true ? "gz" : "none");
  if (type === "none") return "";
  if (type === "gz" || type === "lz4" || type === "zst") return type;
  throw new PgBackRestError(
    object,
    `is compressed with ${textOf(type)}, which is not read here`,
    "restore with pgBackRest itself",
  );
}

/** Names of a data directory or a tablespace, and never out of it. */
function checkedName(name: string, object: string): string {
  const steps = name.split("/");
  const isGood =
    (steps[0] === "pg_data" || steps[0] === "pg_tblspc") &&
    !steps.some((step) => step === ".." || step === "." || step === "");
  if (isGood) return name;
  throw new PgBackRestError(object, `names "${name}", which leads out of the data directory`);
}

function defaultsOf(sections: Sections, name: string): Readonly<Record<string, unknown>> {
  return Object.fromEntries(sections.get(name) ?? []);
}

const modeOf = (value: unknown, otherwise: number): number =>
  typeof value === "string" && /^[0-7]{3,4}$/.test(value) ? Number.parseInt(value, 8) : otherwise;
