// The buckets that WAL-G wrote: their objects, their settings and their keys. They lie beside the repository.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { Secret } from "../../src/base/secret.ts";
import type { CipherSettings, KeySource } from "../../src/codec/encryption.ts";

const ROOT = resolve(
  process.env["HOLDFAST_WALG_FIXTURES"] ?? join(import.meta.dirname, "../../../shared/fixtures/walg"),
);

/** Folder of one bucket. Throws when the fixtures are missing. */
export function fixturePath(name: string, ...rest: readonly string[]): string {
  const path = join(ROOT, name, ...rest);
  if (!existsSync(path)) throw new Error(`no WAL-G bucket at "${path}"; set HOLDFAST_WALG_FIXTURES`);
  return path;
}

/** Names of all buckets. */
export function fixtureNames(): readonly string[] {
  return readdirSync(fixturePath("."), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** Keys of all objects, in byte order. */
export function fixtureKeys(name: string): readonly string[] {
  return readdirSync(fixturePath(name, "store"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(fixturePath(name, "store").length + 1))
    .sort();
}

export const fixtureObject = (name: string, key: string): Uint8Array =>
  readFileSync(fixturePath(name, "store", key));

/** The bucket's `env` file. */
export function fixtureEnv(name: string): Readonly<Record<string, string>> {
  const lines = readFileSync(fixturePath(name, "env"), "utf8").split("\n");
  const pairs = lines
    .filter((line) => line.includes("="))
    .map((line) => line.split(/=(.*)/s) as [string, string]);
  return Object.fromEntries(pairs.map(([key, value]) => [key, value]));
}

/** What reads the bucket's encryption. */
export function fixtureCipher(name: string): CipherSettings {
  const env = fixtureEnv(name);
  const source = (key: string): KeySource | null => {
    const path = env[`${key}_PATH`];
    if (env[key] !== undefined) return { kind: "value", value: new Secret(env[key]) };
    return path === undefined ? null : { kind: "file", path: fixturePath(name, path) };
  };
  const sodium = source("WALG_LIBSODIUM_KEY");
  if (sodium !== null) {
    const transform = (env["WALG_LIBSODIUM_KEY_TRANSFORM"] ?? "none") as "none" | "hex" | "base64";
    return { kind: "libsodium", key: sodium, transform };
  }
  const pgp = source("WALG_PGP_KEY");
  if (pgp === null) return { kind: "none" };
  const passphrase = env["WALG_PGP_KEY_PASSPHRASE"];
  return { kind: "openpgp", key: pgp, passphrase: passphrase === undefined ? null : new Secret(passphrase) };
}
