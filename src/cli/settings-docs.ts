// docs/settings.md, printed from the settings table: a test holds the two together. `holdfast help settings` prints the same.

import { type Setting, type SettingGroup } from "./setting-kinds.ts";
import { FOREIGN_SETTINGS } from "./settings-foreign.ts";
import { ALL_SETTINGS } from "./stray-names.ts";

/** The page as Markdown. */
export function settingsPage(): string {
  const groups = GROUPS.map(([group, introduction]) => section(group, introduction));
  return `${HEAD}\n${groups.join("\n")}\n${PARAMETERS}\n${foreign()}`;
}

function section(group: SettingGroup, introduction: string): string {
  const rows = Object.entries(ALL_SETTINGS).filter(([, row]) => row.group === group);
  const body = rows.map(([name, row]) => tableRow(name, row)).join("\n");
  return `## ${group}\n\n${introduction}\n\n| Name | Value | Default | Meaning |\n| --- | --- | --- | --- |\n${body}\n`;
}

function tableRow(name: string, row: Setting<unknown>): string {
  const also =
    row.aliases.length === 0 ? "" : ` Also: ${row.aliases.map((alias) => `\`${alias}\``).join(", ")}.`;
  const file = row.file ? ` \`${name}_FILE\` may name a file that holds it.` : "";
  const fallback =
    /[` ]/.test(row.shownDefault) || row.shownDefault === "none"
      ? row.shownDefault
      : `\`${row.shownDefault}\``;
  return `| \`${name}\` | ${cell(row.kind)} | ${cell(fallback)} | ${cell(`${row.meaning}${file}${also}`)} |`;
}

function foreign(): string {
  const rows = FOREIGN_SETTINGS.map(({ names, refused, sentence }) => {
    const list = names.map((name) => `\`${name}\``).join(", ");
    return `| ${list} | ${refused === true ? "refused" : "accepted"} | ${cell(sentence)} |`;
  });
  return `## Names that do nothing here\n\nThey are known from WAL-G, the official image or postgres-flex. What is accepted is said in the log; what is refused would leave data in the clear, or elsewhere than asked.\n\n| Name | | |\n| --- | --- | --- |\n${rows.join("\n")}\n`;
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

const HEAD = `# Settings

Printed from the table in \`src/cli/settings-table.ts\` and its neighbours; \`test/cli/settings-docs.test.ts\` holds the two together.

Settings come from the environment: \`docker run --env-file FILE\`, Compose, \`fly secrets\`. All problems are reported at once, by name, and the exit status is 2.

- Write lines as \`NAME=value\`: **no quotes, no comments behind the value**. \`docker run --env-file\` keeps both as part of the value, Compose takes both away, and
  \`fly secrets import\` cuts a value at its first \`#\`. Traces of that are recognised and said.
- Letters, digits, \`-\` and \`_\` are safe in passwords everywhere.
- A secret may come from a file: \`NAME_FILE\`. Both forms at once are an error; a line break at the end of the file does not count.
- Durations are \`500ms\`, \`10s\`, \`1m30s\`, \`2h\`, \`7d\`; a bare number counts seconds. Bytes are \`1048576\` or \`1MB\`, in powers of 1024.
- An empty value counts as none.
- WAL-G's names mean what they mean there. Commands under the name \`wal-g\` also read \`~/.walg.json\`, \`.yaml\` and \`.env\`, and every setting as a flag.
`;

const PARAMETERS = `## Postgres's own settings

What wins, from weak to strong:

1. \`postgresql.conf\` in the data directory, as initdb or another cluster left it;
2. the tuning for this machine: memory after the container's limit, WAL after the size of the volume;
3. \`postgresql.user.conf\` on the volume (\`/data/postgresql.user.conf\`): lines \`name = value\`;
4. \`POSTGRES_CONFIG_<NAME>\` in the environment, and \`-c name=value\` behind the image's name: \`POSTGRES_CONFIG_WORK_MEM=64MB\` is \`work_mem\`,
   \`POSTGRES_CONFIG_CRON__DATABASE_NAME=app\` is \`cron.database_name\`;
5. \`ALTER SYSTEM\`;
6. what keeps the promises, and cannot be changed: \`fsync\`, \`full_page_writes\`, \`archive_mode\`, \`archive_command\`, \`restore_command\`, \`hot_standby\`, \`wal_log_hints\`,
   \`password_encryption\`, addresses, ports and files.

\`shared_preload_libraries\` is added to what the image loads (\`pg_stat_statements\`, \`repmgr\`). Settings that a restore needs at least as large as their source
had them (\`max_connections\` and its like) are raised for it. Lines of \`pg_hba.user.conf\` on the volume count before the general rule of \`pg_hba.conf\`.
`;

const GROUPS: readonly (readonly [SettingGroup, string])[] = [
  [
    "Store",
    "Where the archive lies. Settings whose names begin with `AWS_` or `S3_` are also read with `WALG_` or `WALE_` in front.",
  ],
  [
    "Compression and encryption",
    "How objects are written. What was written with another method is read all the same.",
  ],
  ["WAL", "How WAL gets into the archive and back."],
  ["Backups", "Base backups, and how long they are kept."],
  [
    "Restore",
    "Any of them asks for a restore when the volume is empty. Once it is done it is not repeated; take them out of the environment at leisure.",
  ],
  ["Postgres", "Roles, passwords, the first database."],
  ["Cluster", "Names, nodes, and what a commit waits for."],
  ["Node", "This machine: ports, folders, the log."],
  ["WAL-G commands", "Read by the commands under the name `wal-g`."],
];
