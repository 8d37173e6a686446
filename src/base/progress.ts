// How far long work is, how fast it goes, and when it will be done.

/** A moment of the work. Bytes are those of the source (a push) or of the objects (a fetch). */
export interface Progress {
  readonly doneBytes: number;
  /** 0 when not known yet. */
  readonly totalBytes: number;
  /** Over the last few seconds; 0 before anything was seen. */
  readonly bytesPerSecond: number;
  /** null while it cannot be told. */
  readonly remainingMs: number | null;
}

/** Counts bytes and reports at most every `everyMs`, and at the end. */
export class ProgressMeter {
  readonly #report: (progress: Progress) => void;
  readonly #monotonicMs: () => number;
  readonly #everyMs: number;
  #totalBytes: number;
  #doneBytes = 0;
  #reportedMs: number;
  /** The window over which the rate is taken: oldest first. */
  #samples: { readonly atMs: number; readonly bytes: number }[];

  constructor(
    totalBytes: number,
    report: (progress: Progress) => void,
    monotonicMs: () => number,
    everyMs = REPORT_EVERY_MS,
  ) {
    this.#totalBytes = totalBytes;
    this.#report = report;
    this.#monotonicMs = monotonicMs;
    this.#everyMs = everyMs;
    this.#reportedMs = monotonicMs();
    this.#samples = [{ atMs: this.#reportedMs, bytes: 0 }];
  }

  /** Counts; `bytes` may be negative when work is done again. */
  add(bytes: number): void {
    this.#doneBytes += bytes;
    const now = this.#monotonicMs();
    if (now - this.#reportedMs < this.#everyMs) return;
    this.#reportedMs = now;
    this.#samples.push({ atMs: now, bytes: this.#doneBytes });
    while (this.#samples.length > 2 && this.#samples[0]!.atMs < now - WINDOW_MS) this.#samples.shift();
    this.#report(this.now());
  }

  /** Files that grew or shrank make the total another one. */
  retotal(totalBytes: number): void {
    this.#totalBytes = totalBytes;
  }

  finish(): void {
    this.#totalBytes = this.#doneBytes;
    this.#report({ ...this.now(), remainingMs: 0 });
  }

  now(): Progress {
    const first = this.#samples[0]!;
    const elapsedMs = this.#monotonicMs() - first.atMs;
    const bytesPerSecond =
      elapsedMs <= 0 ? 0 : Math.max(0, ((this.#doneBytes - first.bytes) * 1000) / elapsedMs);
    const left = Math.max(0, this.#totalBytes - this.#doneBytes);
    return {
      doneBytes: this.#doneBytes,
      totalBytes: Math.max(this.#totalBytes, this.#doneBytes),
      bytesPerSecond,
      remainingMs: bytesPerSecond > 0 && this.#totalBytes > 0 ? (left / bytesPerSecond) * 1000 : null,
    };
  }
}

/** `42 %, 812 MB of 1.9 GB, 240 MB/s, 5 s left`: one line for a log or behind a bar. */
export function describeProgress({ doneBytes, totalBytes, bytesPerSecond, remainingMs }: Progress): string {
  const percent = totalBytes === 0 ? "" : `${Math.min(100, Math.floor((doneBytes / totalBytes) * 100))} %, `;
  const of = totalBytes === 0 ? "" : ` of ${formatBytes(totalBytes)}`;
  const left = remainingMs === null ? "" : `, ${formatDuration(remainingMs)} left`;
  return `${percent}${formatBytes(doneBytes)}${of}, ${formatBytes(bytesPerSecond)}/s${left}`;
}

/** Decimal units, two or three figures. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const REPORT_EVERY_MS = 500;
const WINDOW_MS = 15_000;
