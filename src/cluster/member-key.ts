// Members prove to each other that they know the replication password, without sending it: every message carries its MAC.

import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { Secret } from "../base/secret.ts";

export class MemberKey {
  readonly #key: Buffer;

  /** The same password gives the same key on every node. */
  constructor(replicationPassword: Secret) {
    const derived = hkdfSync("sha256", replicationPassword.reveal(), "", "holdfast members", 32);
    this.#key = Buffer.from(derived);
  }

  /** 64 lower-case hex digits over these parts, none of which can be shifted into its neighbour. */
  sign(parts: readonly string[]): string {
    const mac = createHmac("sha256", this.#key);
    for (const part of parts) mac.update(`${Buffer.byteLength(part)}:${part}`);
    return mac.digest("hex");
  }

  verify(parts: readonly string[], mac: string): boolean {
    const wanted = Buffer.from(this.sign(parts));
    const given = Buffer.from(mac);
    return wanted.byteLength === given.byteLength && timingSafeEqual(wanted, given);
  }
}
