import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { before, describe, test } from "node:test";
import { PacketList, armor, enums, readKey } from "openpgp";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { messageOf } from "../../src/base/errors.ts";
import { Secret } from "../../src/base/secret.ts";
import { CipherError, CodecError } from "../../src/codec/codec-error.ts";
import {
  type Cipher,
  type CipherSettings,
  cipherOf,
  makeCipher,
  readCipherKey,
} from "../../src/codec/encryption.ts";
import { makeRandom, mixedBytes } from "../support/random.ts";
import { fixturePath } from "../support/walg-fixtures.ts";

const libsodium = (key: string, transform: "none" | "hex" | "base64" = "none"): CipherSettings => ({
  kind: "libsodium",
  key: { kind: "value", value: new Secret(key) },
  transform,
});

const pgp = (path: string, passphrase: string | null = null): CipherSettings => ({
  kind: "openpgp",
  key: { kind: "file", path },
  passphrase: passphrase === null ? null : new Secret(passphrase),
});

const CIPHERS: Readonly<Record<string, CipherSettings>> = {
  none: { kind: "none" },
  libsodium: libsodium("a passphrase of enough bytes"),
  "openpgp rsa": pgp(fixturePath("pg17-openpgp", "keys/secret.asc")),
  "openpgp ecc": pgp(fixturePath("pg17-openpgp-ecc", "keys/secret.asc")),
  "openpgp with a passphrase": pgp(
    fixturePath("pg17-openpgp-passphrase", "keys/secret.asc"),
    "open sesame 42",
  ),
};
const SIZES = [0, 1, 8191, 8192, 8193, 16_384, 8192 * 32, 8192 * 32 + 1, 3_000_001];

for (const [name, settings] of Object.entries(CIPHERS)) {
  describe(name, () => {
    let cipher: Cipher;
    before(async () => {
      cipher = await makeCipher(settings);
    });

    for (const size of SIZES) {
      test(`${size} bytes come back`, async () => {
        const bytes = mixedBytes(size, makeRandom(size));
        const sealed = await collect(cipher.encrypt(inPieces(bytes, 100_003)));
        assert.deepEqual(Buffer.from(await collect(cipher.decrypt(inPieces(sealed, 70_001)))), bytes);
        if (cipher.name !== "none" && size > 1)
          assert.equal(Buffer.from(sealed).indexOf(bytes.subarray(0, 64)), -1);
      });
    }

    test("an error of the input passes unchanged", async () => {
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield new Uint8Array(20_000);
        throw new RangeError("the input broke");
      }
      await assert.rejects(collect(cipher.encrypt(failing())), RangeError);
    });

    test("the key crosses to another thread as plain data", async () => {
      const other = await cipherOf(structuredClone(await readCipherKey(settings)));
      const sealed = await collect(cipher.encrypt(streamOf(Buffer.from("for the other thread"))));
      assert.equal(
        String(Buffer.from(await collect(other.decrypt(streamOf(sealed))))),
        "for the other thread",
      );
    });

    test("printing the settings or the cipher shows no key", () => {
      const printed =
        inspect(settings, { depth: 9 }) + inspect(cipher, { depth: 9 }) + JSON.stringify(settings);
      assert.doesNotMatch(printed, /passphrase of enough|open sesame|BEGIN PGP/);
    });
  });
}

test("libsodium: the size is the one WAL-G's formula gives", async () => {
  const cipher = await makeCipher(CIPHERS["libsodium"]!);
  for (const size of [0, 1, 8191, 8192, 8193, 1 << 20]) {
    const sealed = await collect(cipher.encrypt(streamOf(new Uint8Array(size))));
    assert.equal(sealed.byteLength, 24 + size + 17 * (Math.floor(size / 8192) + 1), `${size} bytes`);
  }
});

test("libsodium: a cut at every chunk's end, and within one, is damaged", async () => {
  const cipher = await makeCipher(CIPHERS["libsodium"]!);
  const sealed = await collect(cipher.encrypt(streamOf(new Uint8Array(8192 * 40))));
  for (const length of [
    0,
    23,
    24,
    24 + 8209,
    24 + 8209 * 32,
    24 + 8209 * 39,
    24 + 8209 * 40,
    sealed.byteLength - 1,
  ]) {
    await assert.rejects(
      collect(cipher.decrypt(streamOf(sealed.subarray(0, length)))),
      CodecError,
      `${length}`,
    );
  }
  await assert.rejects(collect(cipher.decrypt(streamOf(sealed, new Uint8Array(1)))), CodecError);
  await assert.rejects(collect(cipher.decrypt(streamOf(sealed, sealed))), CodecError);
});

test("libsodium: chunks that changed places are damaged", async () => {
  const cipher = await makeCipher(CIPHERS["libsodium"]!);
  const sealed = Buffer.from(await collect(cipher.encrypt(streamOf(Buffer.alloc(8192 * 4, 7)))));
  const chunk = (n: number): Buffer => sealed.subarray(24 + 8209 * n, 24 + 8209 * (n + 1));
  const swapped = Buffer.concat([
    sealed.subarray(0, 24),
    chunk(0),
    chunk(2),
    chunk(1),
    sealed.subarray(24 + 8209 * 3),
  ]);
  await assert.rejects(collect(cipher.decrypt(streamOf(swapped))), CodecError);
});

test("a wrong key is a CipherError, not damage", async () => {
  const pairs: [CipherSettings, CipherSettings][] = [
    [CIPHERS["libsodium"]!, libsodium("another passphrase of enough bytes")],
    [CIPHERS["openpgp rsa"]!, CIPHERS["openpgp ecc"]!],
    [CIPHERS["openpgp ecc"]!, CIPHERS["openpgp with a passphrase"]!],
  ];
  for (const [writer, reader] of pairs) {
    const sealed = await collect((await makeCipher(writer)).encrypt(streamOf(Buffer.alloc(50_000, 1))));
    await assert.rejects(collect((await makeCipher(reader)).decrypt(streamOf(sealed))), CipherError);
  }
});

test("what was never encrypted is a CipherError too", async () => {
  const plain = Buffer.alloc(100_000, "not encrypted ");
  for (const name of ["libsodium", "openpgp rsa"]) {
    await assert.rejects(
      collect((await makeCipher(CIPHERS[name]!)).decrypt(streamOf(plain))),
      CipherError,
      name,
    );
  }
});

test("OpenPGP: a public key is enough to write, and says that it cannot read", async () => {
  const writer = await makeCipher(pgp(fixturePath("pg17-openpgp", "keys/public.asc")));
  const reader = await makeCipher(CIPHERS["openpgp rsa"]!);
  assert.deepEqual([writer.canRead, reader.canRead], [false, true]);
  const sealed = await collect(writer.encrypt(streamOf(Buffer.from("secret"))));
  assert.equal(String(Buffer.from(await collect(reader.decrypt(streamOf(sealed))))), "secret");
  await assert.rejects(collect(writer.decrypt(streamOf(sealed))), /only a public key is known/);
});

test("OpenPGP: every key of a ring can read", async () => {
  const files = ["pg17-openpgp", "pg17-openpgp-ecc"].map((name) => fixturePath(name, "keys/public.asc"));
  const both = await ringOf(files);
  const sealed = await collect(both.encrypt(streamOf(Buffer.from("for two"))));
  for (const name of ["openpgp rsa", "openpgp ecc"]) {
    const reader = await makeCipher(CIPHERS[name]!);
    assert.equal(String(Buffer.from(await collect(reader.decrypt(streamOf(sealed))))), "for two", name);
  }
});

test("OpenPGP: newlines may be written as two characters", async () => {
  const armored = readFileSync(fixturePath("pg17-openpgp-ecc", "keys/secret.asc"), "utf8");
  const value = new Secret(armored.replaceAll("\n", "\\n"));
  const cipher = await makeCipher({ kind: "openpgp", key: { kind: "value", value }, passphrase: null });
  assert.equal(cipher.canRead, true);
});

const badKeys: readonly (readonly [string, CipherSettings, RegExp])[] = [
  ["too short", libsodium("only twenty-four bytes!!"), /24 bytes, 25 are needed/],
  ["not hexadecimal", libsodium("zz".repeat(32), "hex"), /not hexadecimal/],
  ["hexadecimal of the wrong length", libsodium("ab".repeat(31), "hex"), /31 bytes, 32 are needed/],
  ["not base64", libsodium("***", "base64"), /not base64/],
  ["base64 of the wrong length", libsodium("QUJD", "base64"), /3 bytes, 32 are needed/],
  ["a missing file", pgp("/no/such/key.asc"), /could not read the key/],
  ["no OpenPGP key", pgp(fixturePath("README.md")), /cannot be read/],
  ["no passphrase", pgp(fixturePath("pg17-openpgp-passphrase", "keys/secret.asc")), /needs a passphrase/],
  [
    "a wrong passphrase",
    pgp(fixturePath("pg17-openpgp-passphrase", "keys/secret.asc"), "hunter2"),
    /does not open/,
  ],
];

for (const [what, settings, message] of badKeys) {
  test(`an unusable key is refused at once, and its text is not told: ${what}`, async () => {
    await assert.rejects(makeCipher(settings), (error) => {
      assert.ok(error instanceof CipherError);
      assert.match(error.message, message);
      assert.doesNotMatch(messageOf(error), /twenty-four|zzzz|ababab|hunter2/);
      return true;
    });
  });
}

test("a long passphrase is cut to 32 bytes, a key file's white space does not count", async () => {
  const long = await readCipherKey(libsodium("0123456789abcdef0123456789abcdefEXTRA"));
  const cut = await readCipherKey(libsodium("0123456789abcdef0123456789abcdef"));
  assert.deepEqual(long, cut);
});

/** One armoured ring of several keys. */
async function ringOf(files: readonly string[]): Promise<Cipher> {
  const packets = new PacketList();
  for (const file of files) {
    const key = await readKey({ armoredKey: readFileSync(file, "utf8") });
    packets.push(...key.toPacketList());
  }
  const value = new Secret(armor(enums.armor.publicKey, packets.write()));
  return makeCipher({ kind: "openpgp", key: { kind: "value", value }, passphrase: null });
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
