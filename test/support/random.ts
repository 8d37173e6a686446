// Random numbers from a seed, and bytes that are partly compressible. A test prints its seed; HOLDFAST_SEED repeats it.

/** 0 ≤ r < 1 (mulberry32). */
export type Random = () => number;

/** The same seed gives the same numbers. */
export function makeRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A seed for this run: HOLDFAST_SEED if set, else drawn. Print it. */
export function drawSeed(): number {
  const given = process.env["HOLDFAST_SEED"];
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
}

/** 0 ≤ n < limit. */
export const below = (random: Random, limit: number): number => Math.floor(random() * limit);

/** Bytes in runs of noise, repetition and zeros, as WAL and tables have them. */
export function mixedBytes(size: number, random: Random): Buffer {
  const out = Buffer.alloc(size);
  for (let at = 0; at < size;) {
    const run = Math.min(size - at, 1 + below(random, 5000));
    const kind = below(random, 3);
    if (kind === 0) for (let i = 0; i < run; i += 1) out[at + i] = below(random, 256);
    if (kind === 1) out.fill(`row ${below(random, 100)} `, at, at + run);
    at += run;
  }
  return out;
}

/** Text of words that repeat near and far, with a stretch of zeros and one of noise: something for every kind of match. */
export function wordyBytes(size: number, random: Random): Buffer {
  const words = Array.from({ length: 400 }, () =>
    random()
      .toString(36)
      .slice(2, 4 + below(random, 8)),
  );
  let text = "";
  while (text.length < size) text += `${words[Math.floor(400 * random() ** 2)]} `;
  const out = Buffer.from(text.slice(0, size), "latin1");
  out.fill(0, Math.floor(size / 3), Math.floor(size / 2));
  for (let at = Math.floor(0.6 * size); at < 0.62 * size; at += 1) out[at] = below(random, 256);
  return out;
}

/** Bytes that nothing compresses. */
export function noiseBytes(size: number, random: Random): Buffer {
  return Buffer.from(Array.from({ length: size }, () => below(random, 256)));
}
