#!/bin/bash
# Puts Ceph's S3 gateway (radosgw + one mon + one osd) into a private directory, from Debian's archive only.
# Nothing is installed on the host: the .debs are resolved by apt with its own state, unpacked, and run by chroot.
#   RGW_ROOT   where the tree goes        (default /opt/rgw-root; ~1 GB)
#   RGW_SUITE  Debian suite to take it of (default forky: Ceph 20.2 "Tentacle"; trixie has 18.2 "Reef", Reef only takes unquoted ETags in If-Match)
# Needs: root, apt-get, dpkg-deb, debian-archive-keyring. Idempotent.
set -euo pipefail
ROOT=${RGW_ROOT:-/opt/rgw-root}; SUITE=${RGW_SUITE:-forky}; MIRROR=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -1)}
if [ -e "$ROOT/.complete" ] && [ "$(cat "$ROOT/.complete")" = "$SUITE" ]; then echo "rgw already in $ROOT"; exit 0; fi
T=$ROOT.apt; rm -rf "$ROOT" "$T"; mkdir -p "$ROOT" "$T"/{state/lists/partial,cache/archives/partial,etc/preferences.d,etc/apt.conf.d,etc/trusted.gpg.d}
: > "$T/state/status"
cat > "$T/etc/sources.list" <<S
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $SUITE main
S
cat > "$T/apt.conf" <<S
Dir "/";
Dir::State "$T/state"; Dir::State::status "$T/state/status"; Dir::Cache "$T/cache"; Dir::Etc "$T/etc";
Dir::Etc::sourcelist "$T/etc/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::main "/dev/null"; Dir::Etc::parts "/dev/null";
APT::Architecture "$(dpkg --print-architecture)"; APT::Architectures { "$(dpkg --print-architecture)"; };
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none";
// testing's Release files carry a Valid-Until of a week; a frozen mirror is past it. Signatures are still checked.
Acquire::Check-Valid-Until "false";
Debug::NoLocking "true";
S
export APT_CONFIG=$T/apt.conf
apt-get -qq update
apt-get -qq -y --download-only --no-install-recommends install radosgw ceph-mon ceph-osd libc-bin dash > "$T/log" 2>&1 || { tail -5 "$T/log"; exit 1; }
echo "downloaded $(du -sm "$T/cache/archives" | cut -f1) MB in $(ls "$T"/cache/archives/*.deb | wc -l) packages"
unset APT_CONFIG
# usr-merge links first, so that packages' /lib, /bin, ... land in /usr
mkdir -p "$ROOT"/usr/{bin,sbin,lib,lib64}; for d in bin sbin lib lib64; do ln -s usr/$d "$ROOT/$d"; done
for d in "$T"/cache/archives/*.deb; do dpkg-deb --fsys-tarfile "$d" | tar -x -C "$ROOT" --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./usr/lib/systemd/*' --exclude='./boot/*'; done
rm -rf "$T"
mkdir -p "$ROOT"/{proc,dev,tmp,srv,etc}; chmod 1777 "$ROOT/tmp"
echo 'root:x:0:0:root:/root:/bin/sh' > "$ROOT/etc/passwd"; echo 'root:x:0:' > "$ROOT/etc/group"; echo '127.0.0.1 localhost' > "$ROOT/etc/hosts"
for n in null:3 zero:5 random:8 urandom:9; do [ -e "$ROOT/dev/${n%%:*}" ] || mknod -m 666 "$ROOT/dev/${n%%:*}" c 1 "${n##*:}"; done
chroot "$ROOT" /sbin/ldconfig
chroot "$ROOT" /usr/bin/radosgw --version
echo "$SUITE" > "$ROOT/.complete"
