// Data pages: header, LSN, checksum. src/include/storage/bufpage.h, checksum_impl.h (FNV-1a in 32 lanes).

import { type Lsn, lsnOf } from "../wal/lsn.ts";
import { checksumModule, PRIME, SEEDS } from "./page-checksum-wasm.ts";

export const PAGE_BYTES = 8192;

/** pd_lsn of the page at `at`: two 32-bit halves, the high one first. */
export function pageLsn(bytes: Uint8Array, at: number = 0): Lsn {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 8);
  return lsnOf((BigInt(view.getUint32(0, true)) << 32n) | BigInt(view.getUint32(4, true)));
}

/** A page that was allocated and never written: pd_upper is 0. It carries no checksum. */
export function isNewPage(bytes: Uint8Array, at: number = 0): boolean {
  return bytes[at + 14] === 0 && bytes[at + 15] === 0;
}

/** pd_lower ≤ pd_upper ≤ pd_special ≤ page size, and the page size as expected: what WAL-G asks of a page before it trusts its LSN. */
export function hasSoundHeader(bytes: Uint8Array, at: number = 0): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 24);
  const lower = view.getUint16(12, true);
  const upper = view.getUint16(14, true);
  const special = view.getUint16(16, true);
  const sizeVersion = view.getUint16(18, true);
  return (
    (view.getUint16(10, true) & ~0x0007) === 0 &&
    lower >= 24 &&
    lower <= upper &&
    upper <= special &&
    special <= PAGE_BYTES &&
    (sizeVersion & 0xff00) === PAGE_BYTES &&
    (sizeVersion & 0x00ff) === 4
  );
}

/** pd_checksum as stored. */
export function storedChecksum(bytes: Uint8Array, at: number = 0): number {
  return bytes[at + 8]! | (bytes[at + 9]! << 8);
}

/** The checksum of the page at `at` as block `block` (counted through all files of the relation), 1 … 65,535. */
export function pageChecksum(bytes: Uint8Array, block: number, at: number = 0): number {
  const words = new Int32Array(PAGE_BYTES / 4);
  new Uint8Array(words.buffer).set(bytes.subarray(at, at + PAGE_BYTES));
  return checksumOfWords(words, 0, block);
}

/**
 * Checks whole pages, the first of which is block `firstBlock` of its relation. Returns the indexes (0 = first page of `bytes`) whose checksum is wrong.
 * New pages pass. Whether a wrong page is only torn is for the caller to find out: read it again, look at its LSN.
 */
export function verifyPages(bytes: Uint8Array, firstBlock: number): readonly number[] {
  if (bytes.byteLength % PAGE_BYTES !== 0) {
    throw new RangeError(`${bytes.byteLength} bytes are not whole pages of ${PAGE_BYTES}`);
  }
  wasm ??= startWasm();
  return wasm === "absent" ? verifyInJavaScript(bytes, firstBlock) : verifyInWasm(bytes, firstBlock, wasm);
}

/** The same without WebAssembly; exported for the comparison in the test. */
export function verifyInJavaScript(bytes: Uint8Array, firstBlock: number): readonly number[] {
  const wrong: number[] = [];
  const words = aligned(bytes);
  for (let page = 0; page * PAGE_BYTES < bytes.byteLength; page += 1) {
    const at = page * PAGE_BYTES;
    if (isNewPage(bytes, at)) continue;
    if (checksumOfWords(words, at / 4, firstBlock + page) !== storedChecksum(bytes, at)) wrong.push(page);
  }
  return wrong;
}

function verifyInWasm(bytes: Uint8Array, firstBlock: number, module: Wasm): readonly number[] {
  const wrong: number[] = [];
  for (let from = 0; from < bytes.byteLength; from += WASM_BYTES) {
    const piece = bytes.subarray(from, from + WASM_BYTES);
    module.memory.set(piece);
    const pages = piece.byteLength / PAGE_BYTES;
    const before = from / PAGE_BYTES;
    for (let page = 0; page < pages;) {
      const bad = module.verify(page * PAGE_BYTES, pages - page, (firstBlock + before + page) | 0);
      if (bad < 0) break;
      wrong.push(before + page + bad);
      page += bad + 1;
    }
  }
  return wrong;
}

function aligned(bytes: Uint8Array): Int32Array {
  if (bytes.byteOffset % 4 === 0) return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const copy = new Uint8Array(bytes);
  return new Int32Array(copy.buffer);
}

/** Four lanes at a time, so that their sums stay in registers. pd_checksum (low half of the third word) counts as zero. */
function checksumOfWords(words: Int32Array, from: number, block: number): number {
  const header = words[from + 2]!;
  let result = 0;
  for (let lane = 0; lane < 32; lane += 4) {
    let a = SEEDS[lane]!;
    let b = SEEDS[lane + 1]!;
    let c = SEEDS[lane + 2]!;
    let d = SEEDS[lane + 3]!;
    for (let at = from + lane, end = from + PAGE_BYTES / 4; at < end; at += 32) {
      const third = at === from ? header & 0xffff_0000 : words[at + 2]!;
      a = mix(a, words[at]!);
      b = mix(b, words[at + 1]!);
      c = mix(c, third);
      d = mix(d, words[at + 3]!);
    }
    // Two more rounds of zeros.
    a = mix(mix(a, 0), 0);
    b = mix(mix(b, 0), 0);
    c = mix(mix(c, 0), 0);
    d = mix(mix(d, 0), 0);
    result ^= a ^ b ^ c ^ d;
  }
  return (((result ^ block) >>> 0) % 65_535) + 1;
}

function mix(sum: number, word: number): number {
  const mixed = sum ^ word;
  return Math.imul(mixed, PRIME) ^ (mixed >>> 17);
}

interface Wasm {
  readonly memory: Uint8Array;
  /** Index of the first wrong page out of `pages` from `at` on, or -1. */
  verify(at: number, pages: number, block: number): number;
}

let wasm: Wasm | "absent" | null = null;

// The compiler's library has WebAssembly only together with the whole browser.
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
};

function startWasm(): Wasm | "absent" {
  try {
    const memory = new WebAssembly.Memory({ initial: WASM_BYTES / 65_536 });
    const module = new WebAssembly.Module(checksumModule());
    const instance = new WebAssembly.Instance(module, { e: { m: memory } });
    return {
      memory: new Uint8Array(memory.buffer),
      verify: instance.exports["verify"] as Wasm["verify"],
    };
  } catch {
    return "absent"; // a machine without WebAssembly SIMD
  }
}

const WASM_BYTES = 1 << 20;
