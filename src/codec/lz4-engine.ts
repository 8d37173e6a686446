// LZ4 blocks and XXH32 in WebAssembly, within one piece of memory: for threads that compress gigabytes and must not grow.
// lz4-napi hands out memory of its own for every block, which is only freed by a later collection; and this is faster.

import { CodecError } from "./codec-error.ts";
import { xxh32Digest, XXH32_START } from "./xxh32.ts";

/** One block at a time. Views that methods return are good until the next call. */
export class Lz4Engine {
  /** Put a block's bytes at its start, packed or not, then call. */
  readonly input: Uint8Array;
  readonly #exports: Exports;
  readonly #memory: Uint8Array;
  readonly #words: Int32Array;
  readonly #inputAt: number;
  readonly #outputAt: number;
  #total = 0;
  #heldBytes = 0;

  /** For blocks of at most `blockBytes`. Takes twice that and a little. */
  constructor(blockBytes: number) {
    const stored = blockBytes + Math.ceil(blockBytes / 255) + SLACK_BYTES;
    this.#inputAt = INPUT_AT;
    // Output begins behind room for a history, which linked blocks refer to.
    this.#outputAt = roundUp(INPUT_AT + stored + SLACK_BYTES) + HISTORY_BYTES;
    const bytes = this.#outputAt + stored + SLACK_BYTES;
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / WASM_PAGE_BYTES) });
    compiled ??= new WebAssembly.Module(Buffer.from(ENGINE_WASM, "base64"));
    const instance = new WebAssembly.Instance(compiled, { e: { m: memory } });
    this.#exports = instance.exports as unknown as Exports;
    this.#memory = new Uint8Array(memory.buffer);
    this.#words = new Int32Array(memory.buffer, STATE_AT, 4);
    this.input = this.#memory.subarray(INPUT_AT, INPUT_AT + blockBytes);
    this.startHash();
  }

  /** A block of a frame for the first `bytes` of `input`: its size in 4 bytes, and the LZ4 block or, if that is no gain, the bytes themselves. */
  compress(bytes: number): Uint8Array {
    const at = this.#outputAt;
    let stored = this.#exports.compress(this.#inputAt, bytes, at, TABLE_AT);
    const isRaw = stored >= bytes;
    if (isRaw) {
      stored = bytes;
      this.#memory.set(this.input.subarray(0, bytes), at);
    }
    new DataView(this.#memory.buffer).setUint32(at - 4, isRaw ? bytes + RAW_BLOCK : stored, true);
    return this.#memory.subarray(at - 4, at + stored);
  }

  /** What the raw block in the first `bytes` of `input` holds: at most `room` bytes, whose matches may reach into `history` (64 KiB). Throws CodecError. */
  decompress(bytes: number, room: number, history: Uint8Array): Uint8Array {
    const at = this.#outputAt;
    const low = at - history.byteLength;
    this.#memory.set(history, low);
    const unpacked = this.#exports.decompress(this.#inputAt, bytes, at, room, low);
    if (unpacked < 0) throw new CodecError("lz4: a block cannot be decoded");
    return this.#memory.subarray(at, at + unpacked);
  }

  startHash(): void {
    this.#words.set(XXH32_START);
    this.#total = 0;
    this.#heldBytes = 0;
  }

  /** Adds bytes to the running XXH32; views into this engine are not copied. */
  update(bytes: Uint8Array): void {
    this.#total += bytes.byteLength;
    let at = 0;
    if (this.#heldBytes > 0) {
      at = Math.min(STRIPE_BYTES - this.#heldBytes, bytes.byteLength);
      this.#memory.set(bytes.subarray(0, at), HELD_AT + this.#heldBytes);
      this.#heldBytes += at;
      if (this.#heldBytes < STRIPE_BYTES) return;
      this.#exports.stripes(HELD_AT, HELD_AT + STRIPE_BYTES, STATE_AT);
    }
    const whole = (bytes.byteLength - at) & ~(STRIPE_BYTES - 1);
    this.#stripes(bytes.subarray(at, at + whole));
    this.#memory.set(bytes.subarray(at + whole), HELD_AT);
    this.#heldBytes = bytes.byteLength - at - whole;
  }

  /** 0 … 2^32 - 1. */
  digest(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#words;
    return xxh32Digest([a, b, c, d], this.#total, this.#memory.slice(HELD_AT, HELD_AT + this.#heldBytes));
  }

  #stripes(bytes: Uint8Array): void {
    if (bytes.buffer === this.#memory.buffer) {
      this.#exports.stripes(bytes.byteOffset, bytes.byteOffset + bytes.byteLength, STATE_AT);
      return;
    }
    for (let at = 0; at < bytes.byteLength; at += SCRATCH_BYTES) {
      const piece = bytes.subarray(at, at + SCRATCH_BYTES);
      this.#memory.set(piece, SCRATCH_AT);
      this.#exports.stripes(SCRATCH_AT, SCRATCH_AT + piece.byteLength, STATE_AT);
    }
  }
}

interface Exports {
  compress(src: number, bytes: number, dst: number, table: number): number;
  decompress(src: number, bytes: number, dst: number, room: number, low: number): number;
  stripes(at: number, end: number, state: number): void;
}

// The compiler's library has WebAssembly only together with the whole browser.
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
};

let compiled: object | null = null;

const roundUp = (bytes: number): number => Math.ceil(bytes / 16) * 16;

/** Flag in a block's size. */
const RAW_BLOCK = 0x8000_0000;
/** Memory: sums of the hash, its unfinished stripe, room to hash foreign bytes in, the table of matches, input, history, output. */
const STATE_AT = 1024;
const HELD_AT = 1056;
const STRIPE_BYTES = 16;
const SCRATCH_AT = 2048;
const SCRATCH_BYTES = 30 << 10;
const TABLE_AT = 32 << 10;
const INPUT_AT = 64 << 10;
const HISTORY_BYTES = 64 << 10;
/** Copies run past their end by less than this. */
const SLACK_BYTES = 64;
const WASM_PAGE_BYTES = 64 << 10;

// scripts/wasm/lz4.wat, assembled by scripts/wasm/assemble.ts; test/codec/lz4-engine.test.ts compares them.
export const ENGINE_WASM =
  "AGFzbQEAAAABGANgBH9/f38Bf2AFf39/f38Bf2ADf39/AAIIAQFlAW0CAAEDBAMAAQIHIwMIY29tcHJlc3MAAApkZWNvbXByZXNz" +
  "AAEHc3RyaXBlcwACCtIMA8gHEAF/AX8BfwF/AX8BfwF/AX8BfwF/AX8BfwF/AX8BfwF+IAAhBSACIQkgACABaiEGAkAgAUENSQ0A" +
  "IAZBDGshByAGQQVrIQggA0EAQYCAAvwLACAAQQFqIQQDQCAEIQtBASEMQcEAIQ0CQANAIAshBCAEIAdLDQMgBCAMaiELIA1BBnYh" +
  "DCANQQFqIQ0gAyAEKQAAQhiGQru5893xGX5CM4inQQJ0aiEQIBAoAAAhCiAQIAQ2AAAgCkUNACAEIAprQf//A0sNACAKKAAAIAQo" +
  "AABHDQALCwJAA0AgBCAFTQ0BIAogAE0NASAEQQFrLQAAIApBAWstAABHDQEgBEEBayEEIApBAWshCgwACwsgBCAFayEOIAkhDyAJ" +
  "QQFqIQkgDkEPTwRAIA9B8AE6AAAgDkEPayEMAkADQCAMQf8BSQ0BIAlB/wE6AAAgCUEBaiEJIAxB/wFrIQwMAAsLIAkgDDoAACAJ" +
  "QQFqIQkFIA8gDkEEdDoAAAsgBSERIAkhEiAJIA5qIQkDQCASIBEpAAA3AAAgEiARKQAINwAIIBFBEGohESASQRBqIRIgEiAJSQ0A" +
  "CwNAIAkgBCAKazsAACAJQQJqIQkgBEEEaiERIApBBGohCiARIQ4CQAJAA0AgEUEIaiAISw0BIBEpAAAgCikAAIUhEyATQgBSBEAg" +
  "ESATeqdBA3ZqIREMAwsgEUEIaiERIApBCGohCgwACwsDQCARIAhPDQEgES0AACAKLQAARw0BIBFBAWohESAKQQFqIQoMAAsLIBEh" +
  "BCARIA5rIQ4gDkEPTwRAIA8gDy0AAEEPajoAACAOQQ9rIQ4CQANAIA5B/wFJDQEgCUH/AToAACAJQQFqIQkgDkH/AWshDgwACwsg" +
  "CSAOOgAAIAlBAWohCQUgDyAPLQAAIA5qOgAACyAEIQUgBCAHSw0CIARBAmshESADIBEpAABCGIZCu7nz3fEZfkIziKdBAnRqIBE2" +
  "AAAgAyAEKQAAQhiGQru5893xGX5CM4inQQJ0aiEQIBAoAAAhCiAQIAQ2AAAgCkEARwRAIAQgCmtB//8DTQRAIAooAAAgBCgAAEYE" +
  "QCAJIQ8gCUEAOgAAIAlBAWohCQwDCwsLCyAEQQFqIQQMAAsLIAYgBWshDiAJIQ8gCUEBaiEJIA5BD08EQCAPQfABOgAAIA5BD2sh" +
  "DAJAA0AgDEH/AUkNASAJQf8BOgAAIAlBAWohCSAMQf8BayEMDAALCyAJIAw6AAAgCUEBaiEJBSAPIA5BBHQ6AAALIAkgBSAO/AoA" +
  "ACAJIA5qIAJrDwu/AwkBfwF/AX8BfwF/AX8BfwF/AX8gAiEFIAAgAWohBiACIANqIQcCQANAIAAgBk8NASAALQAAIQggAEEBaiEA" +
  "IAhBBHYhCSAJQQ9GBEADQCAAIAZPDQMgAC0AACEKIABBAWohACAJIApqIQkgCSADSw0DIApB/wFGDQALCyAJIAYgAGtLDQEgCSAH" +
  "IAVrSw0BIAAhDSAFIQwgACAJaiEAIAUgCWohBQNAIAwgDSkAADcAACAMIA0pAAg3AAggDUEQaiENIAxBEGohDCAMIAVJDQALIAAg" +
  "BkYEQCAFIAJrDwsgBiAAa0ECSQ0BIAAvAAAhCiAAQQJqIQAgCkUNASAKIAUgBGtLDQEgBSAKayELIAhBD3EhCSAKIQ0gCUEPRgRA" +
  "A0AgACAGTw0DIAAtAAAhCiAAQQFqIQAgCSAKaiEJIAkgA0sNAyAKQf8BRg0ACwsgCUEEaiEJIAkgByAFa0sNASAFIQwgBSAJaiEF" +
  "IA1BCE8EQANAIAwgCykAADcAACALQQhqIQsgDEEIaiEMIAwgBUkNAAsFA0AgDCALLQAAOgAAIAtBAWohCyAMQQFqIQwgDCAFSQ0A" +
  "CwsMAAsLQX8PC8QBBAF/AX8BfwF/IAIoAAAhAyACKAAEIQQgAigACCEFIAIoAAwhBgJAA0AgACABTw0BIAMgACgAAEH3lK+veGxq" +
  "QQ13QbHz3fF5bCEDIAQgACgABEH3lK+veGxqQQ13QbHz3fF5bCEEIAUgACgACEH3lK+veGxqQQ13QbHz3fF5bCEFIAYgACgADEH3" +
  "lK+veGxqQQ13QbHz3fF5bCEGIABBEGohAAwACwsgAiADNgAAIAIgBDYABCACIAU2AAggAiAGNgAMCw==";
