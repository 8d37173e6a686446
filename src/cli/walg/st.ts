// `wal-g st`: looks at the objects of the store.

import { AppError } from "../../base/errors.ts";
import type { ObjectInfo, ObjectStore } from "../../storage/object-store.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import type { Flag } from "./flags.ts";
import { globPattern, globRoot } from "./glob.ts";
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
  examples: ["wal-g st ls -r", "wal-g st ls wal_005", 'wal-g st ls -g "wal_005/*.history.*"'],
  flags: [
    { name: "recursive", short: "r", kind: "bool", usage: "List folder recursively" },
    { name: "all-versions", kind: "bool", usage: "Accepted; the newest version of each object is shown" },
  ],
  check: argumentCount(0, 1),
  run: list,
};

export const ST_STAT: WalgCommand = {
  path: "st stat",
  summary: "Prints one object's size and time",
  use: "stat relative_object_path",
  examples: ["wal-g st stat wal_005/000000010000000000000001.lz4"],
  flags: [],
  check: argumentCount(1, 1),
  run: async (call) => {
    const key = keyOf(call.args[0]!);
    const info = await (await call.openStore()).head(key, call.signal);
    if (info === null) throw absentObject(key);
    call.print(objectTable([], [{ info, name: key }]));
    return 0;
  },
};

async function list(call: Call): Promise<number> {
  const { args, flags, print, signal } = call;
  const store = await call.openStore();
  if (flags.isOn("glob")) {
    const found = await matching(store, args[0] ?? "*", signal);
    print(
      objectTable(
        [],
        found.map((info) => ({ info, name: info.key })),
      ),
    );
    return 0;
  }
  const folder = keyOf(args[0] ?? "");
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
  print(
    objectTable(
      [...folders],
      objects.map((info) => ({ info, name: info.key.slice(prefix.length) })),
    ),
  );
  return 0;
}

function objectTable(
  folders: readonly string[],
  objects: readonly { readonly info: ObjectInfo; readonly name: string }[],
): string {
  const rows = [
    ...folders.map((name) => ["dir", "0", "0001-01-01 00:00:00 +0000 UTC", name]),
    ...objects.map(({ info, name }) => ["obj", String(info.bytes), formatGoTime(modifiedNsOf(info)), name]),
  ];
  return paddedColumns(["type", "size", "last modified", "name"], rows, true);
}

/** The objects whose whole key fits a pattern. */
export async function matching(
  store: Pick<ObjectStore, "list">,
  pattern: string,
  signal: AbortSignal,
): Promise<ObjectInfo[]> {
  const fits = globPattern(keyOf(pattern));
  const found: ObjectInfo[] = [];
  for await (const info of store.list(globRoot(keyOf(pattern)), signal))
    if (fits.test(info.key)) found.push(info);
  return found;
}

/** A path as a key: no slashes at its ends. */
export const keyOf = (path: string): string => path.replace(/^\/+|\/+$/g, "");

export const absentObject = (key: string): AppError =>
  new AppError(`object '${key}' not found in storage`, {
    code: "OBJECT_ABSENT",
    hint: "look with `st ls`",
  });
