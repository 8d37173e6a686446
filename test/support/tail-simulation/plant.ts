// Preloaded with --import: plants the bug named by HOLDFAST_PLANTED_BUG into the modules as they are loaded.

import { registerHooks } from "node:module";
import { PLANTED_BUGS, plant } from "./planted-bugs.ts";

const bug = PLANTED_BUGS.find(({ name }) => name === process.env["HOLDFAST_PLANTED_BUG"]);
if (bug === undefined) throw new Error("HOLDFAST_PLANTED_BUG names no planted bug");

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const { source } = loaded;
    if (source === undefined || source === null) return loaded;
    const text = typeof source === "string" ? source : Buffer.from(source as Uint8Array).toString("utf8");
    const planted = plant(bug, url, text);
    return planted === null ? loaded : { ...loaded, source: planted };
  },
});
