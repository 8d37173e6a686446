#!/bin/sh
# Restores the latest backup and serves it, as postgres-walg's load.sh does. docker run --env-file FILE IMAGE sh /root/load.sh
# A data directory that is there already is served as it is.
set -eu
if [ -e "$PGDATA/PG_VERSION" ]; then
  echo "load.sh: \"$PGDATA\" holds data already; it is left as it is and served" >&2
else
  wal-g backup-fetch "$PGDATA" LATEST
  touch "$PGDATA/recovery.signal"
fi
exec holdfast supervise
