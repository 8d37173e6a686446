// `wal-g st check`: can the store be read, can it be written.

import { randomBytes } from "node:crypto";
import { AppError } from "../../base/errors.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { keyOf } from "./st.ts";

export const ST_CHECK: WalgCommand = {
  path: "st check",
  summary: "Checks access to the storage",
  use: "check",
  examples: [],
  flags: [],
  check: () => undefined,
  run: () => Promise.resolve(0),
};

export const ST_CHECK_READ: WalgCommand = {
  path: "st check read",
  summary: "Checks that the storage can be read, and that the named objects exist",
  use: "read [filename1 filename2 ...]",
  examples: ["wal-g st check read", "wal-g st check read wal_005/00000002.history.lz4"],
  flags: [],
  check: () => undefined,
  run: checkRead,
};

export const ST_CHECK_WRITE: WalgCommand = {
  path: "st check write",
  summary: "Checks that the storage can be written: puts and removes a small object",
  use: "write",
  examples: ["wal-g st check write"],
  flags: [],
  check: argumentCount(0, 0),
  run: checkWrite,
};

async function checkRead(call: Call): Promise<number> {
  const { args, signal, log } = call;
  const store = await call.openStore();
  for await (const _ of store.list("", signal)) break;
  const missing: string[] = [];
  for (const name of args) if ((await store.head(keyOf(name), signal)) === null) missing.push(name);
  if (missing.length > 0) {
    throw new AppError(`files are missing: ${missing.join(", ")}`, {
      code: "OBJECT_ABSENT",
      hint: "look with `st ls`",
    });
  }
  log.info("Read check OK");
  return 0;
}

async function checkWrite(call: Call): Promise<number> {
  const { signal, log } = call;
  const store = await call.openStore();
  // 32 digits in lower case: no tool takes them for a segment's name.
  const key = randomBytes(16).toString("hex");
  await store.put(key, new TextEncoder().encode("test"), signal);
  await store.delete([key], signal);
  log.info("Write check OK");
  return 0;
}
