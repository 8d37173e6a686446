import assert from "node:assert/strict";
import { test } from "node:test";
import { makeMetrics } from "../../src/supervisor/metrics.ts";
import { nodeView, streaming } from "../support/node-view.ts";

test("metrics: WAL-G's figures keep the names of camptocamp's exporter", async () => {
  const text = await makeMetrics(() => nodeView()).render();
  for (const line of [
    "walg_basebackup_count 1",
    "walg_valid_basebackup_count 1",
    "walg_total_remote_wal_count 2",
    "walg_continious_wal 2",
    "walg_missing_remote_wal_segment 0",
    "walg_missing_remote_wal_segment_at_end 0",
    "walg_exception 0",
    'walg_basebackup{start_wal_segment="000000010000000000000002",start_lsn="33554472"} 1699999000',
    'walg_last_upload{type="basebackup"} 1700000000',
    'holdfast_role{role="primary"} 1',
    "holdfast_archive_lag_bytes 0",
    "holdfast_backup_age_seconds 100",
  ])
    assert.ok(text.split("\n").includes(line), `${line}\n${text}`);
});

test("metrics: what is not known is left out, not zero", async () => {
  let view = nodeView();
  const metrics = makeMetrics(() => view);
  assert.match(await metrics.render(), /^holdfast_archive_lag_seconds 0$/m);
  view = nodeView({ streamer: null, archive: null });
  assert.doesNotMatch(await metrics.render(), /^holdfast_archive_lag_seconds \d/m);
  view = nodeView({ streamer: streaming({ lagSeconds: 3 }) });
  assert.match(await metrics.render(), /^holdfast_archive_lag_seconds 3$/m);
});
