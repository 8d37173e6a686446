// Small pieces of the replication protocol: messages to the server, names in its grammar, columns of its answers.

import type { ReplicationRow } from "./replication-parser.ts";
import { ServerError } from "./server-error.ts";

/** A column that must be there. Throws ServerError. */
export function text(row: ReplicationRow | undefined, column: number): string {
  const value = row?.[column];
  if (value === null || value === undefined)
    throw new ServerError(`the walsender's answer lacks column ${column}`);
  return value;
}

/** A message of the protocol: its type, its length, its body. */
export function message(type: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** A name, quoted for the replication grammar. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text, quoted for the replication grammar. */
export function literal(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
