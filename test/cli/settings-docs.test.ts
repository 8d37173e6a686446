// docs/settings.md is the table, no more and no less.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { namesOf } from "../../src/cli/read-table.ts";
import { settingsPage } from "../../src/cli/settings-docs.ts";
import { FOREIGN_SETTINGS, foreignSetting } from "../../src/cli/settings-foreign.ts";
import { ALL_SETTINGS } from "../../src/cli/stray-names.ts";

const page = join(import.meta.dirname, "..", "..", "docs", "settings.md");

test("docs/settings.md is what the table prints", () => {
  assert.equal(
    readFileSync(page, "utf8"),
    settingsPage(),
    "print it anew: node -e 'import(\"./src/cli/settings-docs.ts\").then((m) => process.stdout.write(m.settingsPage()))' > docs/settings.md",
  );
});

test("no name means two things", () => {
  const owners = new Map<string, string>();
  for (const [name, row] of Object.entries(ALL_SETTINGS)) {
    for (const each of namesOf(name, row)) {
      assert.ok(!owners.has(each), `${each} belongs to ${owners.get(each)} and to ${name}`);
      owners.set(each, name);
      assert.equal(foreignSetting(each), null, `${each} is also listed as one that does nothing`);
    }
  }
});

test("every row has a meaning that ends like a sentence, and a fallback that its own parser takes", () => {
  for (const [name, row] of Object.entries(ALL_SETTINGS)) {
    assert.match(row.meaning, /[.:]$/, name);
    if (typeof row.fallback === "string") assert.deepEqual(row.parse(row.fallback), row.fallback, name);
    if (row.secret) assert.equal(row.fallback, null, name);
  }
  for (const { names, sentence } of FOREIGN_SETTINGS) assert.ok(!/[.]$/.test(sentence), names[0]);
});
