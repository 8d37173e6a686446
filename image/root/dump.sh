#!/bin/sh
# Fills an archive for trying things out, as postgres-walg's dump.sh does: start, base backup, pgbench load, second backup, stop.
# docker run --env-file FILE IMAGE sh /root/dump.sh
set -eu
log() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "dump.sh: $*"; }

holdfast supervise &
node=$!
trap 'kill -TERM $node 2>/dev/null || true' EXIT
until holdfast status > /dev/null 2>&1; do
  kill -0 $node 2>/dev/null || { wait $node && status=0 || status=$?; log "the node ended with status $status"; trap - EXIT; exit "$((status == 0 ? 1 : status))"; }
  sleep 0.5
done
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
export PGHOST=/run/postgresql PGPORT="${POSTGRES_PORT:-5433}" PGUSER="$user" PGDATABASE="$database"
log "first backup"
wal-g backup-push "$PGDATA"
log "load"
pgbench -i -q -s "${PGBENCH_SCALE:-10}"
pgbench -c 4 -T "${PGBENCH_SECONDS:-10}" > /dev/null
psql -XAtqc 'select pg_switch_wal()' > /dev/null
log "second backup"
wal-g backup-push "$PGDATA"
wal-g backup-list
log "stopping"
trap - EXIT
kill -TERM $node
wait $node
log "done"
