// pg_hba.conf: who may connect, closed by default. Pure.

export interface HbaConfig {
  /** Closed: only local programs, by the socket; nobody else, with or without a password. */
  readonly clients: "open" | "closed";
  /** May other nodes replicate from here? */
  readonly replication: "open" | "closed";
  /** The role nodes replicate by. */
  readonly replicationUser: string;
  /** Networks and addresses other nodes come from. */
  readonly replicationFrom: readonly string[];
  readonly hostAuth: "scram-sha-256" | "trust";
  readonly tlsRequired: boolean;
  /** Lines of pg_hba.user.conf: they count before the general rule, and only while the doors are open. */
  readonly userLines: readonly string[];
}

/** Private networks, Fly's included: members are told apart by password, the rest of the world is kept out. */
export const PRIVATE_NETWORKS: readonly string[] = [
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "169.254.0.0/16",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
];

/** The whole file. The first line that fits a connection decides. */
export function renderHba(config: HbaConfig): string {
  const rows: string[] = [
    "# Made by Holdfast; changes are lost. Lines of yours: pg_hba.user.conf on the volume.",
    "# The socket is closed by its permissions to everybody but root and Postgres itself, so it asks for no password.",
    row("local", "all", "all", "", "trust"),
    row("local", "replication", "all", "", "trust"),
  ];
  const member = quoted(config.replicationUser);
  if (config.replication === "open") {
    for (const network of config.replicationFrom) {
      rows.push(row("host", "replication", member, network, "scram-sha-256"));
      rows.push(row("host", "all", member, network, "scram-sha-256"));
    }
  }
  rows.push(row("host", "all", member, "all", "reject"));
  if (config.clients === "closed") {
    rows.push(
      "# The doors are closed.",
      row("host", "all", "all", "all", "reject"),
      row("host", "replication", "all", "all", "reject"),
    );
    return `${rows.join("\n")}\n`;
  }
  if (config.userLines.length > 0) rows.push("# pg_hba.user.conf", ...config.userLines);
  rows.push(row("host", "replication", "all", "all", "reject"));
  if (config.tlsRequired) {
    for (const loopback of ["127.0.0.0/8", "::1/128"])
      rows.push(row("host", "all", "all", loopback, config.hostAuth));
    rows.push(row("hostnossl", "all", "all", "all", "reject"));
  }
  rows.push(row("host", "all", "all", "all", config.hostAuth));
  return `${rows.join("\n")}\n`;
}

/** Lines of pg_hba.user.conf that could be rules, and what is wrong with the others. A wrong line would keep the server from starting. */
export function checkHbaLines(text: string): {
  readonly lines: readonly string[];
  readonly problems: readonly string[];
} {
  const lines: string[] = [];
  const problems: string[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const fields = line.match(/"[^"]*"|[^\s]+/g) ?? [];
    const problem = lineProblem(fields);
    if (problem === null) lines.push(line);
    else problems.push(`line ${index + 1} ${problem}`);
  }
  return { lines, problems };
}

function lineProblem(fields: readonly string[]): string | null {
  const [type, , , address = "", ...rest] = fields;
  if (!/^(local|host|hostssl|hostnossl|hostgssenc|hostnogssenc)$/.test(type ?? "")) {
    return `begins with "${type}"; write local, host, hostssl or hostnossl`;
  }
  // An address may be followed by a mask of its own.
  const method =
    type === "local" ? address : /^[\d.]+$|^[0-9a-f:]+:[0-9a-f:]*$/i.test(rest[0] ?? "") ? rest[1] : rest[0];
  if (method === undefined || method === "") return "has too few words";
  if (!METHODS.has(method)) return `has the method "${method}"; one of ${[...METHODS].join(", ")}`;
  return null;
}

const row = (type: string, database: string, user: string, address: string, method: string): string =>
  [type.padEnd(9), database.padEnd(12), user.padEnd(12), address.padEnd(18), method]
    .join(" ")
    .replace(/\s+$/, "");

const quoted = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', "")}"`;

const METHODS: ReadonlySet<string> = new Set([
  "scram-sha-256",
  "md5",
  "reject",
  "cert",
  "ldap",
  "radius",
  "pam",
  "gss",
  "peer",
  "ident",
  "trust",
  "oauth",
]);
