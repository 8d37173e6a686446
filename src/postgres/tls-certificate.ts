// The server's certificate: the one that was given, or a self-signed one that is made once and renewed in time.

import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppError, messageOf } from "../base/errors.ts";
import { writeDurably } from "../base/durable-file.ts";
import { mustRun } from "../base/run-command.ts";
import type { OsUser } from "./os-user.ts";

export interface CertificatePlan {
  /** Where the server reads them: the key belongs to its user, mode 0600. */
  readonly certificate: string;
  readonly key: string;
  /** Folder for the making. */
  readonly scratch: string;
  readonly user: OsUser | null;
  readonly given: { readonly certFile: string; readonly keyFile: string } | null;
  readonly nodeName: string;
  readonly nowMs: number;
}

/** Puts certificate and key in place. `changed`: reload the server. Throws TlsError when the given files do not fit together. */
export async function ensureCertificate(plan: CertificatePlan): Promise<"kept" | "changed"> {
  const present = await readPair(plan.certificate, plan.key);
  const wanted = plan.given === null ? null : await readGiven(plan.given);
  if (wanted !== null) {
    if (present?.certificate === wanted.certificate && present.key === wanted.key) return "kept";
    await place(plan, wanted);
    return "changed";
  }
  if (present !== null && expiryMs(present.certificate) - plan.nowMs > RENEW_MS) return "kept";
  await place(plan, await selfSigned(plan));
  return "changed";
}

class TlsError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, {
      code: "TLS_CERTIFICATE",
      hint: "check TLS_CERT_FILE (PEM, chain included) and TLS_KEY_FILE (PEM, without a passphrase)",
      cause,
    });
  }
}

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

async function readPair(certificate: string, key: string): Promise<Pair | null> {
  try {
    return { certificate: await readFile(certificate, "utf8"), key: await readFile(key, "utf8") };
  } catch {
    return null;
  }
}

async function readGiven({ certFile, keyFile }: { certFile: string; keyFile: string }): Promise<Pair> {
  const { createPrivateKey } = await import("node:crypto");
  try {
    const pair = { certificate: await readFile(certFile, "utf8"), key: await readFile(keyFile, "utf8") };
    const fits = new X509Certificate(pair.certificate).checkPrivateKey(createPrivateKey(pair.key));
    if (!fits)
      throw new TlsError(`the key in "${keyFile}" is not the one of the certificate in "${certFile}"`);
    return pair;
  } catch (error) {
    if (error instanceof TlsError) throw error;
    // Never the key's bytes: OpenSSL's messages do not hold them.
    throw new TlsError(`could not use "${certFile}" and "${keyFile}": ${messageOf(error)}`);
  }
}

async function selfSigned(plan: CertificatePlan): Promise<Pair> {
  const folder = await mkdtemp(join(plan.scratch, "tls-"));
  try {
    const key = join(folder, "key.pem");
    const certificate = join(folder, "cert.pem");
    await mustRun("openssl", [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch".split(" "),
      "-days",
      String(VALID_DAYS),
      "-subj",
      `/CN=${plan.nodeName.slice(0, 64).replaceAll(/[/=+,]/g, "-")}`,
      "-addext",
      `subjectAltName=DNS:${plan.nodeName.replaceAll(/[^A-Za-z0-9.-]/g, "-")},DNS:localhost`,
      "-keyout",
      key,
      "-out",
      certificate,
    ]);
    return { certificate: await readFile(certificate, "utf8"), key: await readFile(key, "utf8") };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function place(plan: CertificatePlan, pair: Pair): Promise<void> {
  const owner = plan.user ?? undefined;
  await writeDurably(plan.key, pair.key, 0o600, owner);
  await writeDurably(plan.certificate, pair.certificate, 0o644, owner);
}

/** Milliseconds since 1970; 0 when it cannot be read. */
function expiryMs(certificate: string): number {
  try {
    return new X509Certificate(certificate).validToDate.getTime();
  } catch {
    return 0;
  }
}

const DAY_MS = 86_400_000;
const VALID_DAYS = 3_650;
const RENEW_MS = 30 * DAY_MS;
