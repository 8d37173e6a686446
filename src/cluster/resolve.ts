// Names into addresses, anew at every connection, without the thread pool: a name server that hangs must not hold up file access.

import { Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";

/** Addresses of a name, IPv6 and IPv4; empty when it does not resolve now. Never throws. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Asks /etc/hosts, then the name servers for both families. */
export function makeResolve(limitMs: number = LIMIT_MS): Resolve {
  return async (host) => {
    if (isIP(host) !== 0) return [host];
    const fixed = hostsEntry(await readFile("/etc/hosts", "utf8").catch(() => ""), host);
    if (fixed.length > 0) return fixed;
    // One resolver a question: a cancelled one would take the others with it.
    const resolver = new Resolver({ timeout: limitMs, tries: 1 });
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  };
}

/** The texts of a TXT record, or none. Never throws. */
export async function resolveTexts(host: string, limitMs: number = LIMIT_MS): Promise<readonly string[]> {
  const resolver = new Resolver({ timeout: limitMs, tries: 1 });
  const records = await resolver.resolveTxt(host).catch(() => []);
  return records.map((pieces) => pieces.join(""));
}

/** Addresses that /etc/hosts gives for a name. */
export function hostsEntry(text: string, host: string): readonly string[] {
  return text.split("\n").flatMap((line) => {
    const [address = "", ...names] = line.split("#")[0]!.trim().split(/\s+/);
    return names.includes(host) && isIP(address) !== 0 ? [address] : [];
  });
}

const LIMIT_MS = 700;
