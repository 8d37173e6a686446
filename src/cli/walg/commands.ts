// The table of WAL-G's commands.

import {
  PGBACKREST,
  PGBACKREST_BACKUP_FETCH,
  PGBACKREST_BACKUP_LIST,
  PGBACKREST_WAL_FETCH,
  PGBACKREST_WAL_SHOW,
} from "../pgbackrest/commands.ts";
import { DRILL } from "../verify/drill.ts";
import { VERIFY } from "../verify/verify-command.ts";
import { BACKUP_FETCH } from "./backup-fetch.ts";
import { BACKUP_LIST, CATCHUP_LIST } from "./backup-list.ts";
import { BACKUP_MARK } from "./backup-mark.ts";
import { BACKUP_PUSH } from "./backup-push.ts";
import { CATCHUP_FETCH, CATCHUP_OTHERS, CATCHUP_PUSH } from "./catchup.ts";
import type { WalgCommand } from "./command.ts";
import { COPY } from "./copy.ts";
import { DAEMON } from "./daemon.ts";
import {
  DELETE,
  DELETE_BEFORE,
  DELETE_EVERYTHING,
  DELETE_GARBAGE,
  DELETE_RETAIN,
  DELETE_TARGET,
} from "./delete.ts";
import { DELETE_OLDER } from "./delete-older.ts";
import { ST, ST_LS, ST_STAT } from "./st.ts";
import { ST_CHECK, ST_CHECK_READ, ST_CHECK_WRITE } from "./st-check.ts";
import { ST_CAT, ST_GET, ST_PUT, ST_RM } from "./st-objects.ts";
import {
  ST_COPY,
  ST_TRANSFER,
  ST_TRANSFER_BACKUPS,
  ST_TRANSFER_FILES,
  ST_TRANSFER_WALS,
} from "./st-transfer.ts";
import { WAL_FETCH, WAL_PREFETCH } from "./wal-fetch.ts";
import { WAL_PUSH } from "./wal-push.ts";
import { WAL_RECEIVE } from "./wal-receive.ts";
import { WAL_RESTORE } from "./wal-restore.ts";
import { WAL_SHOW } from "./wal-show.ts";
import { WAL_VERIFY } from "./wal-verify.ts";

/** By path; a command with others below it comes before them. */
export const WALG_COMMANDS: readonly WalgCommand[] = [
  BACKUP_FETCH,
  BACKUP_LIST,
  BACKUP_MARK,
  BACKUP_PUSH,
  CATCHUP_FETCH,
  CATCHUP_LIST,
  CATCHUP_PUSH,
  ...CATCHUP_OTHERS,
  COPY,
  DAEMON,
  DELETE,
  DELETE_BEFORE,
  DELETE_EVERYTHING,
  DELETE_GARBAGE,
  DELETE_OLDER,
  DELETE_RETAIN,
  DELETE_TARGET,
  ST,
  ST_CAT,
  ST_CHECK,
  ST_CHECK_READ,
  ST_CHECK_WRITE,
  ST_GET,
  ST_LS,
  ST_PUT,
  ST_RM,
  ST_STAT,
  ST_COPY,
  ST_TRANSFER,
  ST_TRANSFER_BACKUPS,
  ST_TRANSFER_FILES,
  ST_TRANSFER_WALS,
  DRILL,
  PGBACKREST,
  PGBACKREST_BACKUP_FETCH,
  PGBACKREST_BACKUP_LIST,
  PGBACKREST_WAL_FETCH,
  PGBACKREST_WAL_SHOW,
  VERIFY,
  WAL_FETCH,
  WAL_PREFETCH,
  WAL_PUSH,
  WAL_RECEIVE,
  WAL_RESTORE,
  WAL_SHOW,
  WAL_VERIFY,
];
