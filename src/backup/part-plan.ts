// Files into tar parts: large ones first, so that the last worker to finish is not far behind the others.

/** One file of a part, in the order in which it is packed. */
export interface PlannedFile {
  readonly name: string;
  readonly bytes: number;
  /** Try an increment; the packer falls back to the whole file. */
  readonly mayIncrement: boolean;
}

export interface PlannedPart {
  /** `part_001.tar`, without the extension of the compression. */
  readonly tarName: string;
  /** Names of directories, packed before the files. */
  readonly directories: readonly string[];
  readonly files: readonly PlannedFile[];
  readonly bytes: number;
}

export interface PartLimits {
  /** WALG_TAR_SIZE_THRESHOLD: no part grows by another file once it holds more. */
  readonly thresholdBytes: number;
  /** Parts that are packed at once. */
  readonly concurrency: number;
}

/**
 * Every file in exactly one part; directories in the first. At least one part, even when nothing changed: WAL-G
 * refuses a backup without. A file is never split.
 */
export function planParts(
  directories: readonly string[],
  files: Iterable<PlannedFile>,
  { thresholdBytes, concurrency }: PartLimits,
): PlannedPart[] {
  const sorted = [...files].toSorted((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  const total = sorted.reduce((sum, { bytes }) => sum + bytes, 0);
  const target = Math.min(
    thresholdBytes,
    Math.max(LEAST_PART_BYTES, total / (concurrency * PARTS_PER_WORKER)),
  );
  const parts: PlannedPart[] = [];
  let open: PlannedFile[] = [];
  let openBytes = 0;
  const close = (): void => {
    parts.push({ tarName: partName(parts.length + 1), directories: [], files: open, bytes: openBytes });
    [open, openBytes] = [[], 0];
  };
  for (const file of sorted) {
    if (open.length > 0 && (openBytes + file.bytes > target || open.length >= MOST_MEMBERS)) close();
    open.push(file);
    openBytes += file.bytes;
  }
  if (open.length > 0 || parts.length === 0) close();
  return parts.map((part, index) => (index === 0 ? { ...part, directories } : part));
}

/** `part_%03d.tar` */
export const partName = (number: number): string => `part_${String(number).padStart(3, "0")}.tar`;

/** So that workers end together though parts differ. */
const PARTS_PER_WORKER = 4;
const LEAST_PART_BYTES = 32 << 20;
/** Bounds the message that describes a part. */
const MOST_MEMBERS = 20_000;
