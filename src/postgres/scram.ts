// SCRAM verifiers made on this side, so that a password never reaches the server's log. RFC 5802, scram-common.c: scram_build_secret.

import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import type { Secret } from "../base/secret.ts";

const derive = promisify(pbkdf2);

/** `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`, as ALTER ROLE … PASSWORD takes it. */
export async function scramVerifier(
  password: Secret,
  salt: Uint8Array = randomBytes(SALT_BYTES),
): Promise<string> {
  const salted = await derive(prepared(password.reveal()), salt, ITERATIONS, 32, "sha256");
  const clientKey = hmac(salted, "Client Key");
  const storedKey = createHash("sha256").update(clientKey).digest("base64");
  const serverKey = hmac(salted, "Server Key").toString("base64");
  return `SCRAM-SHA-256$${ITERATIONS}:${Buffer.from(salt).toString("base64")}$${storedKey}:${serverKey}`;
}

/** True when `verifier` was made of this password. */
export async function matchesVerifier(password: Secret, verifier: string): Promise<boolean> {
  const match = /^SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$/.exec(verifier);
  if (match === null || Number(match[1]) !== ITERATIONS) return false;
  return (await scramVerifier(password, Buffer.from(match[2]!, "base64"))) === verifier;
}

/** SASLprep as far as Postgres and its clients agree on it: odd spaces, characters that count as nothing, compatibility forms. */
function prepared(password: string): string {
  if (/^[\x20-\x7e]*$/.test(password)) return password;
  return Array.from(password)
    .filter((char) => !isNothing(char.codePointAt(0)!))
    .map((char) => (/[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/.test(char) ? " " : char))
    .join("")
    .normalize("NFKC");
}

/** RFC 3454, table B.1. */
const isNothing = (code: number): boolean =>
  NOTHING.has(code) || (code >= 0x180b && code <= 0x180d) || (code >= 0xfe00 && code <= 0xfe0f);

const hmac = (key: Uint8Array, text: string): Buffer => createHmac("sha256", key).update(text).digest();

const NOTHING: ReadonlySet<number> = new Set([0xad, 0x34f, 0x1806, 0x200c, 0x200d, 0x2060, 0xfeff]);
const ITERATIONS = 4096;
const SALT_BYTES = 16;
