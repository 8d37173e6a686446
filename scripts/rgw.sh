#!/bin/bash
# One-node Ceph RGW (S3) on 127.0.0.1 from the tree made by rgw-install.sh: ceph-mon + ceph-osd + radosgw, no mgr, no cephx.
#   rgw.sh start   create the cluster and the S3 user if need be, start, wait until S3 answers
#   rgw.sh stop    SIGTERM all three       rgw.sh kill   SIGKILL all three (data stays: start again to recover)
#   rgw.sh reset   kill and delete the data    rgw.sh pids   print "gateway osd mon"
# RGW_BIND=0.0.0.0 makes the gateway listen on every address: for a container that mounts RGW_ROOT (test/support/image.ts).
# Env: RGW_ROOT RGW_BIND RGW_NAME RGW_PORT RGW_STORE(bluestore: on disk | memstore: RAM, lost on kill) RGW_SIZE_GB S3_ACCESS_KEY S3_SECRET_KEY
set -euo pipefail
ROOT=${RGW_ROOT:-/opt/rgw-root}; BIND=${RGW_BIND:-127.0.0.1}; NAME=${RGW_NAME:-default}; PORT=${RGW_PORT:-9000}; STORE=${RGW_STORE:-bluestore}; GB=${RGW_SIZE_GB:-20}
AK=${S3_ACCESS_KEY:-testaccesskey}; SK=${S3_SECRET_KEY:-testsecretkey1234}
D=/srv/$NAME; H=$ROOT$D; MON=$((PORT+1)); OSDLO=$((PORT+10)); OSDHI=$((PORT+29))
in_root() { timeout 120 env -i PATH=/usr/bin:/usr/sbin:/bin:/sbin LANG=C.UTF-8 HOME=/root chroot "$ROOT" "$@"; }
conf() { cat > "$H/ceph.conf" <<C
[global]
fsid = $(cat "$H/fsid")
mon host = v2:127.0.0.1:$MON
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = $OSDLO
ms bind port max = $OSDHI
auth cluster required = none
auth service required = none
auth client required = none
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
run dir = $D/run
admin socket = $D/run/\$name.asok
log file = $D/log/\$name.log
crash dir = $D/crash
mon data = $D/mon
osd data = $D/osd
osd objectstore = $STORE
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon max pg per osd = 1000
paxos propose interval = 0.05
paxos min wait = 0.01
mon tick interval = 1
mon osd min down reporters = 1
osd shutdown pgref assert = false
osd fast shutdown = true
osd op queue = wpq
mon data avail warn = 2
mon data avail crit = 1
osd memory target = 939524096
bluestore block create = true
bluestore block size = $((GB*1024*1024*1024))
memstore device bytes = $((GB*1024*1024*1024))
debug ms = 0/0
debug mon = 0/0
debug osd = 0/0
debug bluestore = 0/0
debug rocksdb = 0/0
debug rgw = 0/0
debug civetweb = 0/0
[client.rgw]
ms mon client mode = crc
rgw frontends = beast endpoint=$BIND:$PORT
rgw enable apis = s3
rgw data = $D/rgw
rgw dynamic resharding = false
rgw override bucket index max shards = 1
rgw enable usage log = false
rgw gc obj min wait = 30
rgw gc processor period = 30
C
}
spawn() { local n=$1; shift; setsid env -i PATH=/usr/bin:/usr/sbin:/bin:/sbin LANG=C.UTF-8 HOME=/root chroot "$ROOT" "$@" -c $D/ceph.conf -f >> "$H/log/$n.out" 2>&1 < /dev/null & echo $! > "$H/$n.pid"; }
alive() { [ -s "$H/$1.pid" ] && kill -0 "$(cat "$H/$1.pid")" 2>/dev/null; }
die() { echo "rgw.sh: $*" >&2; tail -n 5 "$H"/log/*.out >&2 || true; exit 1; }
# The status line without curl: the container has none.
answers() { local line; { exec 3<> "/dev/tcp/127.0.0.1/$PORT"; } 2> /dev/null || return 1; printf 'GET / HTTP/1.0\r\nHost: x\r\n\r\n' >&3; IFS= read -r -t 2 line <&3 || line=; exec 3>&-; [[ $line == *' 200 '* || $line == *' 403 '* ]]; }
start() {
  [ -e "$ROOT/.complete" ] || { echo "run rgw-install.sh first" >&2; exit 1; }
  local fresh=
  if [ "$STORE" = memstore ] && ! alive osd; then rm -rf "$H"; fi
  if [ ! -e "$H/ready" ]; then fresh=1; rm -rf "$H"; mkdir -p "$H"/{run,log,mon,osd,crash,rgw}; cat /proc/sys/kernel/random/uuid > "$H/fsid"; fi
  conf
  if [ -n "$fresh" ]; then
    in_root monmaptool --create --addv a "[v2:127.0.0.1:$MON]" --fsid "$(cat "$H/fsid")" --clobber $D/monmap > /dev/null
    in_root ceph-mon -c $D/ceph.conf --mkfs -i a --monmap $D/monmap
  fi
  alive mon || spawn mon ceph-mon -i a
  if [ -n "$fresh" ]; then
    local u; u=$(cat /proc/sys/kernel/random/uuid)
    in_root ceph -c $D/ceph.conf osd new "$u" 0 > /dev/null || die "mon did not answer"
    in_root ceph-osd -c $D/ceph.conf -i 0 --mkfs --osd-uuid "$u" > "$H/log/mkfs.out" 2>&1 || die "osd mkfs failed: $(tail -3 "$H/log/mkfs.out")"
  fi
  if ! alive osd; then   # the gateway must not meet the map of a dead osd: it would wait 10 s for it
    in_root ceph -c $D/ceph.conf osd down 0 > /dev/null 2>&1 || true
    spawn osd ceph-osd -i 0
    for _ in $(seq 100); do in_root ceph -c $D/ceph.conf osd stat 2> /dev/null | grep -q ' 1 up' && break; alive osd || die "osd died"; sleep 0.1; done
  fi
  alive gw || spawn gw radosgw -n client.rgw
  for _ in $(seq 600); do answers && break; alive gw || die "gateway died"; sleep 0.1; done; answers || die "no answer on port $PORT"
  if [ -n "$fresh" ]; then
    in_root radosgw-admin -c $D/ceph.conf user create --uid test --display-name test --access-key "$AK" --secret-key "$SK" > "$H/log/user.out" 2>&1 || die "user: $(tail -3 "$H/log/user.out")"
    touch "$H/ready"
  fi
  echo "S3 ready: http://127.0.0.1:$PORT region us-east-1 key $AK"
}
signal() { local n p; for n in gw osd mon; do alive $n || continue; p=$(cat "$H/$n.pid"); kill -"$1" "$p" || true; [ "$1" = KILL ] && continue
    for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.05; done; kill -9 "$p" 2>/dev/null || true; done
  for n in gw osd mon; do p=$(cat "$H/$n.pid" 2>/dev/null || true); [ -z "$p" ] || while kill -0 "$p" 2>/dev/null; do sleep 0.05; done; rm -f "$H/$n.pid"; done; }
case ${1:-} in
  start) start;; stop) signal TERM;; kill) signal KILL;; reset) signal KILL; rm -rf "$H";;
  pids) cat "$H/gw.pid" "$H/osd.pid" "$H/mon.pid" | tr '\n' ' ';; *) sed -n 2,6p "$0"; exit 2;; esac
