# The syntax is BuildKit's built-in one: build with DOCKER_BUILDKIT=1.
# The same file builds Postgres 15 (bookworm), 17 (trixie) and 18 (sid): --build-arg BASE_IMAGE=… --build-arg PG_MAJOR=…
# A build machine behind its own certificate authority adds --secret id=ca,src=FILE; nothing of it stays in a layer.
ARG BASE_IMAGE=debian:trixie-slim

# ---- what runs: Postgres, its extensions, repmgr, HAProxy -------------------------------------------
FROM ${BASE_IMAGE} AS packages
ARG PG_MAJOR=17
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
RUN set -eu; \
    printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' > /etc/dpkg/dpkg.cfg.d/slim; \
    # One number in every image, the official image's: a volume then belongs to Postgres whichever image it is mounted in.
    groupadd --system --gid 999 postgres; \
    useradd --system --uid 999 --gid 999 --no-create-home --home-dir /var/lib/postgresql --shell /bin/bash postgres; \
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

# npm must run by the Node that will run: with Debian's older one it leaves native packages out, without a word.
# ---- what is built: production packages of npm and Node itself; nothing of this stage runs ----------
FROM ${BASE_IMAGE} AS program
ENV DEBIAN_FRONTEND=noninteractive
RUN set -eu; apt-get update; apt-get install -y --no-install-recommends nodejs npm ca-certificates; rm -rf /var/lib/apt/lists/*
WORKDIR /opt/holdfast
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=ca set -eu; \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca npm_config_cafile=/run/secrets/ca; fi; \
    node=$(sed -n '/"node_modules\/node": {/,/}/s/.*"version": "\(.*\)",/\1/p' package-lock.json | head -n 1); \
    mkdir /node; cd /node; npm init -y > /dev/null; npm install --no-audit --no-fund "node-linux-$(node -p process.arch)@$node"; \
    cp node_modules/node-linux-*/bin/node /usr/local/bin/node; /usr/local/bin/node --version; \
    cd /opt/holdfast; hash -r; npm ci --omit=dev --no-audit --no-fund; \
    # npm passes over optional packages that it could not fetch, and the native parts are such.
    node -e 'for (const name of ["lz4-napi", "sodium-native", "@napi-rs/lzma"]) require(name)'; \
    find node_modules \( -name '*.md' -o -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete; \
    rm -rf /root/.npm node_modules/zx node_modules/.bin

# ---- the image -------------------------------------------------------------------------------------
FROM packages AS holdfast
ARG PG_MAJOR=17
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG POSTGRES_VERSION=unknown
ENV NODE_COMPILE_CACHE=/opt/holdfast/.compiled PG_MAJOR=${PG_MAJOR} PGDATA=/data/pgdata PATH=/usr/lib/postgresql/${PG_MAJOR}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY --from=program /usr/local/bin/node /usr/local/bin/node
COPY --from=program /opt/holdfast/node_modules /opt/holdfast/node_modules
COPY package.json /opt/holdfast/
COPY bin /opt/holdfast/bin
COPY src /opt/holdfast/src
COPY image/usr /usr
COPY image/root /root
RUN set -eu; \
    ln -s /opt/holdfast/bin/holdfast.js /usr/local/bin/holdfast; ln -s /opt/holdfast/bin/wal-g.js /usr/local/bin/wal-g; \
    ln -s /opt/holdfast/bin/walg-daemon-client.js /usr/local/bin/walg-daemon-client; \
    install -d -m 0755 /data /docker-entrypoint-initdb.d; install -d -m 1777 /run/holdfast; \
    install -d -o postgres -g postgres -m 3777 /run/postgresql; \
    holdfast --version; wal-g --version; walg-daemon-client -help; holdfast help supervise > /dev/null; RELEASE_COMMAND=1 POSTGRES_PASSWORD=none WALG_FILE_PREFIX=/tmp holdfast supervise > /dev/null; \
    rm -rf /data/* /run/holdfast/* /tmp/*
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="Highly available Postgres that survives the loss of its volume" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      holdfast.postgres.major="${PG_MAJOR}" \
      holdfast.postgres.version="${POSTGRES_VERSION}" \
      fly.version="custom"
EXPOSE 5432 5433 5434 5500 9187
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 CMD ["holdfast-health"]
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "holdfast-entrypoint"]
