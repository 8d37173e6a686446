# syntax is BuildKit's built-in one; build with DOCKER_BUILDKIT=1.
# The same file builds Postgres 15 (bookworm), 17 (trixie) and 18 (sid): --build-arg BASE_IMAGE=… --build-arg PG_MAJOR=…
ARG BASE_IMAGE=debian:trixie-slim

# ---- what runs: Postgres, its extensions, repmgr, HAProxy -------------------------------------------
FROM ${BASE_IMAGE} AS packages
ARG PG_MAJOR=17
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
RUN set -eu; \
    printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' > /etc/dpkg/dpkg.cfg.d/slim; \
    apt-get update; \
    apt-get install -y --no-install-recommends postgresql-common ca-certificates; \
    sed -ri 's/^#?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf; \
    extensions=; for name in pgvector postgis-3 cron; do \
      if apt-cache show "postgresql-${PG_MAJOR}-$name" > /dev/null 2>&1; then extensions="$extensions postgresql-${PG_MAJOR}-$name"; fi; \
    done; \
    apt-get install -y --no-install-recommends \
      postgresql-${PG_MAJOR} postgresql-${PG_MAJOR}-repmgr $extensions \
      haproxy tini netcat-openbsd libnss-wrapper zstd xz-utils locales; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt
