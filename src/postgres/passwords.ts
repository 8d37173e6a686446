// The passwords of our roles: given, derived, or generated and kept on the volume.

import { createHmac, randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import { Secret } from "../base/secret.ts";

export interface Passwords {
  readonly superuser: Secret;
  /** null: no such role. */
  readonly operator: Secret | null;
  readonly replication: Secret;
  /** Where a generated password can be read; null when it was given. */
  readonly generatedPath: string | null;
}

export interface GivenPasswords {
  readonly superuserPassword: Secret | null;
  readonly operatorPassword: Secret | null;
  readonly replicationPassword: Secret | null;
}

/** Completes what was given. A generated password is written to `marks`/superuser-password, mode 0600, and read from there ever after. */
export async function completePasswords(given: GivenPasswords, marks: string): Promise<Passwords> {
  const path = join(marks, "superuser-password");
  const superuser = given.superuserPassword ?? (await generatedPassword(path));
  return {
    superuser,
    operator: given.operatorPassword,
    replication: given.replicationPassword ?? derivedPassword(superuser, "replication"),
    generatedPath: given.superuserPassword === null ? path : null,
  };
}

/** The same on every node that has the same superuser's password, and tells nothing about that one. */
export function derivedPassword(from: Secret, purpose: string): Secret {
  return new Secret(createHmac("sha256", from.reveal()).update(`holdfast ${purpose}`).digest("hex"));
}

async function generatedPassword(path: string): Promise<Secret> {
  const known = await readFile(path, "utf8").catch(() => "");
  if (known.trim() !== "") return new Secret(known.trim());
  const fresh = randomBytes(24).toString("base64url");
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeDurably(path, `${fresh}\n`);
  return new Secret(fresh);
}
