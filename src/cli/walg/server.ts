// Which Postgres server a command talks to: libpq's variables, or what is found on this machine.

import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError, messageOf } from "../../base/errors.ts";
import { Secret } from "../../base/secret.ts";
import type { ClientCertificate, ServerAddress, Tls } from "../../postgres/server-address.ts";
import type { Settings } from "./command.ts";
import { UsageError } from "./flags.ts";

/** Where Debian's Postgres and Holdfast's own put their sockets, then where everybody else does. */
const SOCKET_FOLDERS = ["/run/postgresql", "/var/run/postgresql", "/tmp"] as const;

/** The server of PGHOST, PGPORT, PGUSER, PGPASSWORD, PGPASSFILE, PGDATABASE, PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY; without PGHOST a local socket, else localhost. */
export async function serverOf(
  settings: Settings,
  hasSocket: (path: string) => boolean = existsSync,
): Promise<ServerAddress> {
  const ports = portsOf(settings);
  const place = settings.text("PGHOST") === undefined ? localSocket(ports, hasSocket) : null;
  const host = place?.host ?? settings.text("PGHOST") ?? "localhost";
  const port = place?.port ?? settings.count("PGPORT", 5432);
  const user = settings.text("PGUSER") ?? settings.text("POSTGRES_USER") ?? "postgres";
  const database = settings.text("PGDATABASE") ?? "postgres";
  const password = host.startsWith("/")
    ? settings.text("PGPASSWORD")
    : await passwordOf(settings, { host, port, user, database });
  return {
    host,
    port,
    user,
    ...(password === undefined ? {} : { password: new Secret(password) }),
    database,
    tls: await tlsOf(settings, host),
    applicationName: settings.text("PGAPPNAME") ?? "wal-g",
  };
}

/** PGPORT alone if it is set; else Holdfast's own port and the usual one. */
function portsOf(settings: Settings): readonly number[] {
  if (settings.text("PGPORT") !== undefined) return [settings.count("PGPORT", 5432)];
  return [settings.count("POSTGRES_PORT", 5433), 5432];
}

function localSocket(
  ports: readonly number[],
  hasSocket: (path: string) => boolean,
): { readonly host: string; readonly port: number } | null {
  for (const port of ports) {
    const host = SOCKET_FOLDERS.find((folder) => hasSocket(join(folder, `.s.PGSQL.${port}`)));
    if (host !== undefined) return { host, port };
  }
  return null;
}

interface Login {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

async function passwordOf(settings: Settings, login: Login): Promise<string | undefined> {
  const given = settings.text("PGPASSWORD");
  if (given !== undefined) return given;
  const home = settings.text("HOME");
  const path = settings.text("PGPASSFILE") ?? (home === undefined ? undefined : join(home, ".pgpass"));
  const found = path === undefined ? undefined : await fromPasswordFile(path, login);
  return found ?? settings.text("POSTGRES_PASSWORD") ?? settings.text("SU_PASSWORD");
}

/** libpq's rules: `host:port:database:user:password`, `*` for any, `\` quotes; a file that others may read is left alone. */
async function fromPasswordFile(path: string, login: Login): Promise<string | undefined> {
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile() || (info.mode & 0o077) !== 0) return undefined;
  const text = await readFile(path, "utf8").catch(() => "");
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map((match) =>
      match[1]!.replace(/\\(.)/g, "$1"),
    );
    const [host, port, database, user, password] = fields;
    const fits = (field: string | undefined, value: string): boolean => field === "*" || field === value;
    const isOurs =
      fits(host, login.host) &&
      fits(port, String(login.port)) &&
      fits(database, login.database) &&
      fits(user, login.user);
    if (isOurs && password !== undefined) return password;
  }
  return undefined;
}

async function tlsOf(settings: Settings, host: string): Promise<Tls> {
  const mode = settings.text("PGSSLMODE") ?? "prefer";
  const client = await clientCertificate(settings);
  switch (mode) {
    case "disable":
    case "allow":
      return { kind: "off" };
    case "prefer":
      return /^(\/|localhost$|127\.|::1$)/.test(host) ? { kind: "off" } : { kind: "require", ...client };
    case "require":
      return { kind: "require", ...client };
    case "verify-ca":
    case "verify-full":
      return { kind: "verify", ca: await authority(settings), serverName: host, ...client };
    default:
      throw new UsageError(
        `PGSSLMODE is "${mode}"`,
        "one of disable, allow, prefer, require, verify-ca, verify-full",
      );
  }
}

async function authority(settings: Settings): Promise<string> {
  const path = settings.text("PGSSLROOTCERT");
  if (path === undefined)
    throw new UsageError("PGSSLROOTCERT is not set, and PGSSLMODE asks to verify the server");
  return readPem("PGSSLROOTCERT", path);
}

/** PGSSLCERT and PGSSLKEY; one without the other is no use. */
async function clientCertificate(settings: Settings): Promise<{ readonly client?: ClientCertificate }> {
  const [certificate, key] = [settings.text("PGSSLCERT"), settings.text("PGSSLKEY")];
  if (certificate === undefined && key === undefined) return {};
  if (certificate === undefined || key === undefined)
    throw new UsageError(
      `${certificate === undefined ? "PGSSLKEY" : "PGSSLCERT"} is set, and ${certificate === undefined ? "PGSSLCERT" : "PGSSLKEY"} is not`,
      "set both, or neither",
    );
  return {
    client: {
      certificate: await readPem("PGSSLCERT", certificate),
      key: new Secret(await readPem("PGSSLKEY", key)),
    },
  };
}

async function readPem(name: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new AppError(`could not read ${name} "${path}": ${messageOf(error)}`, {
      code: "SERVER_CERTIFICATE",
      hint: "check the path",
      exitStatus: 2,
    });
  }
}
