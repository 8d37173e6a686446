// The server's certificate: made once, renewed in time, replaced by the one that is given.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type CertificatePlan, ensureCertificate } from "../../src/postgres/tls-certificate.ts";

async function bench(): Promise<AsyncDisposable & { plan: CertificatePlan; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-tls-"));
  const plan: CertificatePlan = {
    certificate: join(folder, "server.crt"),
    key: join(folder, "server.key"),
    scratch: folder,
    user: null,
    given: null,
    nodeName: "node-1",
    nowMs: Date.now(),
  };
  return { plan, folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
/** A key and certificate of their own. */
function make(folder: string, name: string): { certFile: string; keyFile: string } {
  const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.pem`)];
  execFileSync(
    "openssl",
    [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch -days 90".split(" "),
      "-subj",
      `/CN=${name}`,
      "-keyout",
      keyFile,
      "-out",
      certFile,
    ],
    { stdio: "ignore" },
  );
  return { certFile, keyFile };
}

test("one is made, named after the node, for nobody else to read, and kept", async () => {
  await using run = await bench();
  assert.equal(await ensureCertificate(run.plan), "changed");
  const certificate = new X509Certificate(await readFile(run.plan.certificate));
  assert.equal(certificate.subject, "CN=node-1");
  assert.match(certificate.subjectAltName ?? "", /DNS:node-1, DNS:localhost/);
  assert.equal((await stat(run.plan.key)).mode & 0o777, 0o600);
  assert.equal(await ensureCertificate(run.plan), "kept");
  assert.deepEqual((await readdir(run.folder)).sort(), ["server.crt", "server.key"], "nothing is left over");
});

test("a month before its end, or when a file is missing or damaged, it is made anew", async () => {
  await using run = await bench();
  await ensureCertificate(run.plan);
  const first = await readFile(run.plan.certificate, "utf8");
  const { validToDate } = new X509Certificate(first);
  const later = (days: number): CertificatePlan => ({
    ...run.plan,
    nowMs: validToDate.getTime() - days * 86_400_000,
  });
  assert.equal(await ensureCertificate(later(31)), "kept");
  assert.equal(await ensureCertificate(later(29)), "changed");
  await rm(run.plan.key);
  assert.equal(await ensureCertificate(run.plan), "changed");
  await writeFile(run.plan.certificate, "damaged");
  assert.equal(await ensureCertificate(run.plan), "changed");
});

test("the one that is given is put in place, and again when it is renewed", async () => {
  await using run = await bench();
  await ensureCertificate(run.plan);
  const given = make(run.folder, "given");
  assert.equal(await ensureCertificate({ ...run.plan, given }), "changed");
  assert.equal(await readFile(run.plan.certificate, "utf8"), await readFile(given.certFile, "utf8"));
  assert.equal(await ensureCertificate({ ...run.plan, given }), "kept");
  make(run.folder, "given");
  assert.equal(await ensureCertificate({ ...run.plan, given }), "changed");
  assert.equal((await stat(run.plan.key)).mode & 0o777, 0o600);
});

test("what cannot be used is refused by a sentence, and what was there stays", async () => {
  await using run = await bench();
  await ensureCertificate(run.plan);
  const before = await readFile(run.plan.certificate, "utf8");
  const [one, two] = [make(run.folder, "one"), make(run.folder, "two")];
  const refused = (certFile: string, keyFile: string, message: RegExp): Promise<void> =>
    assert.rejects(ensureCertificate({ ...run.plan, given: { certFile, keyFile } }), {
      code: "TLS_CERTIFICATE",
      message,
    });
  await refused(
    one.certFile,
    two.keyFile,
    /the key in ".*two\.pem" is not the one of the certificate in ".*one\.crt"/,
  );
  await refused("/nowhere", one.keyFile, /could not use "\/nowhere" and .*ENOENT/);
  await refused(one.keyFile, one.keyFile, /could not use/);
  assert.equal(await readFile(run.plan.certificate, "utf8"), before);
});

test("a node's name that is odd makes a certificate all the same", async () => {
  await using run = await bench();
  assert.equal(
    await ensureCertificate({ ...run.plan, nodeName: `n/1,CN=x "${"long".repeat(30)}` }),
    "changed",
  );
});
