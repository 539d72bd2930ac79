#!/usr/bin/env bash
# build.sh TARGET OUTPUT: builds a target of the Dockerfile with buildah, without Docker, into an OCI archive, and
# prints its digest. Every time in it is that of the commit, so that the same sources on the same bases give the same.
# IMAGE is its full name, registry and all: containerd finds what is imported by exactly that. More arguments go to
# buildah, such as `-v ~/.npmrc:/root/.npmrc:ro`.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${1:?a target of the Dockerfile: production, development}
output=${2:?where to write the archive}
image=${IMAGE:-docker.io/library/prefect-lifeguard:$(node -p 'require("./package.json").version')}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

# --isolation chroot and vfs: also where this is a container itself.
buildah build --storage-driver vfs --isolation chroot --no-cache --pull-never --timestamp "$epoch" --target "$target" \
  --label "org.opencontainers.image.revision=$(git rev-parse HEAD)" --quiet --tag "$image" "${@:3}" . >&2
buildah push --storage-driver vfs --quiet "$image" "oci-archive:$output:$image" >&2
tar -xOf "$output" index.json | node -p 'JSON.parse(require("fs").readFileSync(0, "utf8")).manifests[0].digest'
