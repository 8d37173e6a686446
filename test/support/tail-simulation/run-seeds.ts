// Runs a range of seeds and stops at the first broken invariant: `run-seeds.ts FIRST COUNT`. Prints it as one line; exit status 1 then.

import { PLANTED_BUGS } from "./planted-bugs.ts";
import { World } from "./world.ts";

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 100);

const favour = PLANTED_BUGS.find(({ name }) => name === process.env["HOLDFAST_PLANTED_BUG"])?.favour ?? [];

for (let seed = first; seed < first + count; seed += 1) {
  try {
    await new World({ seed, nodes: 3, actions: 60, favour }).run();
  } catch (error) {
    console.log(error instanceof Error ? error.message.split("\n")[0] : String(error));
    process.exit(1);
  }
}
