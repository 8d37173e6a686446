// Where a Postgres server is and as whom to speak to it.

import type { Secret } from "../base/secret.ts";

/** `off`: plain. `require`: encrypted, whoever answers. `verify`: encrypted, and the certificate is checked against `ca`. */
export type Tls =
  | { readonly kind: "off" }
  | { readonly kind: "require"; readonly client?: ClientCertificate }
  | {
      readonly kind: "verify";
      readonly ca: string;
      readonly serverName?: string;
      readonly client?: ClientCertificate;
    };

/** What is shown to a server that asks who connects; PEM. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly key: Secret;
}

export interface ServerAddress {
  /** A name, an IP address, or the folder of a Unix socket (begins with `/`). */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password?: Secret;
  /** Default `postgres`. */
  readonly database?: string;
  /** Default off. Never used on a Unix socket. */
  readonly tls?: Tls;
  readonly applicationName: string;
  /** Until the connection is ready for queries, default 10,000 ms. */
  readonly connectTimeoutMs?: number;
}

/** `user@host:port/database`, without the password; for messages. */
export function describeAddress({ user, host, port, database = "postgres" }: ServerAddress): string {
  return `${user}@${host}:${port}/${database}`;
}

/** The settings that `pg` takes for this address. */
export function clientSettings(address: ServerAddress): ClientSettings {
  const {
    host,
    port,
    user,
    password,
    database = "postgres",
    tls,
    applicationName,
    connectTimeoutMs,
  } = address;
  return {
    host,
    port,
    user,
    // A function: `pg` keeps no copy that an inspection of the client would print. Without one it would read PGPASSWORD.
    password: () => password?.reveal() ?? "",
    database,
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    keepAlive: true,
    ssl: host.startsWith("/") ? false : tlsSettings(tls),
  };
}

export interface ClientSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: () => string;
  readonly database: string;
  readonly application_name: string;
  readonly connectionTimeoutMillis: number;
  readonly keepAlive: boolean;
  readonly ssl: false | TlsSettings;
}

interface TlsSettings {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
  readonly servername?: string;
  readonly cert?: string;
  readonly key?: string;
}

function tlsSettings(tls: Tls = { kind: "off" }): ClientSettings["ssl"] {
  if (tls.kind === "off") return false;
  const client =
    tls.client === undefined ? {} : { cert: tls.client.certificate, key: tls.client.key.reveal() };
  if (tls.kind === "require") return { rejectUnauthorized: false, ...client };
  return {
    ...client,
    rejectUnauthorized: true,
    ca: tls.ca,
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  };
}

const CONNECT_TIMEOUT_MS = 10_000;
