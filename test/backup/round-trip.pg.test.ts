// What Holdfast backs up, it restores: codecs, encryption, full and delta, with and without tablespaces, on a real Postgres.
// Dumps are equal, page checksums good, and the stored structure is WAL-G's by a checker that does not know the writer.
// A sample of the combinations; all of them with HOLDFAST_LONG.

import assert from "node:assert/strict";

import { join } from "node:path";
import { test } from "node:test";
import type { Method } from "../../src/codec/compression.ts";
import { type CipherKey, cipherOf } from "../../src/codec/encryption.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { type Sealing, archived, backupSource, churn, dump, fill, push } from "../support/backup-source.ts";
import { assertRestores } from "../support/assert-restores.ts";
import { postgresMajor, scratchFolder } from "../support/scratch-postgres.ts";
import { checkBackup } from "../support/walg-structure-checker.ts";
import { fixtureCipher } from "../support/walg-fixtures.ts";
import { readCipherKey } from "../../src/codec/encryption.ts";

const METHODS: readonly Method[] = ["lz4", "zstd", "brotli", "lzma", "none"];
const CIPHERS: Readonly<Record<string, () => Promise<CipherKey>>> = {
  plain: async () => ({ kind: "none" }),
  libsodium: () => readCipherKey(fixtureCipher("pg17-libsodium-hex")),
  openpgp: () => readCipherKey(fixtureCipher("pg17-openpgp-ecc")),
};
/** Each method and each cipher at least once. */
const SAMPLE = ["lz4 plain", "zstd libsodium", "brotli openpgp", "lzma plain", "none libsodium"];

const isWhole = process.env["HOLDFAST_LONG"] !== undefined;
const combinations = METHODS.flatMap((method) => Object.keys(CIPHERS).map((cipher) => ({ method, cipher })));
const chosen = combinations.filter(({ method, cipher }) => isWhole || SAMPLE.includes(`${method} ${cipher}`));

for (const tablespaces of [false, true]) {
  test(`round trips on Postgres ${await postgresMajor()}, ${tablespaces ? "with" : "without"} tablespaces`, async (t) => {
    const { server, archive } = await backupSource();
    await using source = server;
    await fill(source, tablespaces);
    for (const [round, { method, cipher }] of chosen.entries()) {
      if (tablespaces && !isWhole && round > 1) break;
      await t.test(`${method}, ${cipher}`, async () => {
        await using work = await scratchFolder("round-trip");
        const store = await openFolderStore(join(work.path, "store"), { create: true });
        const sealing: Sealing = { compression: { method }, cipherKey: await CIPHERS[cipher]!() };
        const expected = { method, cipher: await cipherOf(sealing.cipherKey), segmentBytes: 1 << 20 };
        const settings = { maxSteps: 2, thresholdBytes: 3 << 20, userData: { round: round + 1 } };
        const full = await push(source, store, sealing, settings);
        await source.psql("drop table if exists fresh_1, fresh_2");
        await churn(source, 1);
        const first = await push(source, store, sealing, settings);
        await churn(source, 2);
        const second = await push(source, store, sealing, settings);
        await source.psql("insert into untouched values (-1, 'after the last backup')");
        const truth = await dump(source);
        await archived(source);

        const checkedFull = await checkBackup(join(work.path, "store"), full.name, expected, null);
        const checkedFirst = await checkBackup(join(work.path, "store"), first.name, expected, checkedFull);
        const checked = await checkBackup(join(work.path, "store"), second.name, expected, checkedFirst);
        const entries = Object.values(checked.files ?? {});
        assert.ok(
          entries.some(({ IsIncremented }) => IsIncremented),
          "there are increments",
        );
        assert.ok(
          entries.some(({ IsSkipped }) => IsSkipped),
          "there are unchanged files",
        );

        for (const { name } of [full, second]) await assertRestores(store, name, { sealing, archive, truth });
      });
    }
  });
}
