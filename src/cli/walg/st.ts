// `wal-g st`: looks at and moves the objects of the store.

import type { ObjectInfo } from "../../storage/object-store.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import type { Flag } from "./flags.ts";
import { formatGoTime, modifiedNsOf } from "./go-time.ts";
import { paddedColumns } from "./table.ts";

/** Flags that all words of `st` take. */
export const ST_FLAGS: readonly Flag[] = [
  { name: "glob", short: "g", kind: "bool", usage: "Take the path as a pattern: * ? [a-z]" },
  {
    name: "target",
    short: "t",
    kind: "string",
    usage: "Storage to work with: default, all, or a failover storage's name",
  },
];

export const ST: WalgCommand = {
  path: "st",
  summary: "Storage tools: look at and move the objects of the store",
  use: "st",
  examples: [],
  flags: ST_FLAGS,
  check: () => undefined,
  run: () => Promise.resolve(0),
};

export const ST_LS: WalgCommand = {
  path: "st ls",
  summary: "Prints objects in the provided storage folder",
  use: "ls [relative folder path]",
  examples: ["wal-g st ls -r", "wal-g st ls wal_005"],
  flags: [
    { name: "recursive", short: "r", kind: "bool", usage: "List folder recursively" },
    { name: "all-versions", kind: "bool", usage: "Accepted; the stores are read in their newest version" },
  ],
  check: argumentCount(0, 1),
  run: list,
};

async function list(call: Call): Promise<number> {
  const { args, flags, print, signal } = call;
  const store = await call.openStore();
  const folder = (args[0] ?? "").replace(/^\/+|\/+$/g, "");
  const prefix = folder === "" ? "" : `${folder}/`;
  const objects: ObjectInfo[] = [];
  const folders = new Set<string>();
  for await (const info of store.list(prefix, signal)) {
    const slash = info.key.indexOf("/", prefix.length);
    if (flags.isOn("recursive") || slash < 0) objects.push(info);
    else folders.add(info.key.slice(prefix.length, slash + 1));
  }
  const depth = (key: string): number => key.split("/").length;
  objects.sort((a, b) => depth(a.key) - depth(b.key) || (a.key < b.key ? -1 : 1));
  const rows = [
    ...[...folders].map((name) => ["dir", "0", "0001-01-01 00:00:00 +0000 UTC", name]),
    ...objects.map((info) => [
      "obj",
      String(info.bytes),
      formatGoTime(modifiedNsOf(info)),
      info.key.slice(prefix.length),
    ]),
  ];
  print(paddedColumns(["type", "size", "last modified", "name"], rows, true));
  return 0;
}
