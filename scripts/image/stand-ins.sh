#!/usr/bin/env bash
# Makes stand-ins for the two base images of the Dockerfile in buildah's storage, for machines that reach no image
# registry: Debian packages, the Node that package.json pins, npm. They are tagged like the real ones, so that the
# Dockerfile is built unchanged. Needs root, buildah, debootstrap, and `npm ci` done.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE=bookworm
NODE=$(readlink -f node_modules/node/bin/node)
# What ca-certificates would make of its parts when it is configured.
AUTHORITIES=/etc/ssl/certs/ca-certificates.crt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# commit ROOT TAG [buildah config option...]: one layer of a folder.
commit() {
  local root=$1 tag=$2 container
  container=$(buildah from --storage-driver vfs scratch)
  buildah add --storage-driver vfs --quiet "$container" "$root" / >/dev/null
  buildah config --storage-driver vfs "${@:3}" "$container"
  buildah commit --storage-driver vfs --quiet --rm "$container" "$tag"
}

# As docker.io/library/node: Debian, node and npm under /usr/local, a user 1000.
slim() {
  local root=$work/slim
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$root" >"$work/debootstrap.log" ||
    { tail "$work/debootstrap.log" >&2 && return 1; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  install -m 755 "$NODE" "$root/usr/local/bin/node"
  npm install --global --prefix "$root/usr/local" --no-audit --no-fund --silent npm@11
  chroot "$root" useradd --uid 1000 --user-group --create-home --shell /bin/bash node
  commit "$root" docker.io/library/node:24-bookworm-slim --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# As gcr.io/distroless/nodejs24-debian12: the libraries that node needs, authorities, time zones, a user 65532, no shell.
distroless() {
  local root=$work/distroless
  mkdir -p "$root"/{nodejs/bin,etc/ssl/certs,home/nonroot,tmp,var/tmp} "$work/debs"
  (cd "$work/debs" && apt-get download -qq base-files netbase tzdata libc6 libgcc-s1 libstdc++6)
  for deb in "$work"/debs/*.deb; do dpkg-deb --extract "$deb" "$root"; done
  install -m 755 "$NODE" "$root/nodejs/bin/node"
  install -m 644 "$AUTHORITIES" "$root/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
  chmod 1777 "$root/tmp" "$root/var/tmp"
  chown -R 65532:65532 "$root/home/nonroot"
  commit "$root" gcr.io/distroless/nodejs24-debian12:nonroot --user 65532 --workingdir /home/nonroot --entrypoint '["/nodejs/bin/node"]' \
    --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
}

slim
distroless
