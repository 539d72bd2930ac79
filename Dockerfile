# syntax=docker/dockerfile:1
# The image of prefect-lifeguard. Types are stripped by Node as it loads, so there is nothing to compile: what is
# built is node_modules without development packages, on the smallest image with Node in it.
#
# Reproducible: packages come from package-lock.json, and no file carries the time of the build. For the same bytes:
#   SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) docker buildx build --output type=oci,dest=image.tar,rewrite-timestamp=true .

FROM docker.io/library/node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No scripts of packages: none of ours has one that is needed, and this is where one would get in.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force
# Declarations, source maps and manuals are half of it, and nothing reads them here.
RUN find node_modules -type f \( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.map' -o -iname '*.md' \) -delete
# For `kubectl exec deploy/prefect-lifeguard -- prefect-lifeguard explain ...`: there is no shell where it will be.
RUN printf '#!/nodejs/bin/node\nimport("/app/src/main.ts")\n' > /prefect-lifeguard && chmod 755 /prefect-lifeguard

# For working on it (`skaffold dev`): skaffold puts changed files in place with tar, and Node starts over.
FROM docker.io/library/node:24-bookworm-slim AS development
WORKDIR /app
# Into the file that is there: tar would put a new one in its place, and Node 24 watches a file that was replaced only
# until it is replaced once more.
ENV TAR_OPTIONS=--overwrite
COPY --from=packages /app/node_modules ./node_modules
COPY package.json ./
COPY manifests/base/webhooks.yaml manifests/base/rbac.yaml ./manifests/base/
COPY --chown=65532:65532 src ./src
USER 65532:65532
ENTRYPOINT ["node", "src/main.ts"]

FROM gcr.io/distroless/nodejs24-debian12:nonroot AS production
LABEL org.opencontainers.image.title="prefect-lifeguard" \
      org.opencontainers.image.description="Ends Prefect subflow runs whose Kubernetes pods died, with a diagnosis, and never a live one." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/nodejs24-debian12:nonroot"
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=packages /app/node_modules ./node_modules
# `dev` registers and `check` compares what is in here; `serve` does not read it.
COPY manifests/base/webhooks.yaml manifests/base/rbac.yaml ./manifests/base/
COPY src ./src
COPY --from=packages /prefect-lifeguard /usr/local/bin/
# `nonroot`, by number: kubelet cannot tell a name from root.
USER 65532:65532
EXPOSE 8443 8080
# Under a memory limit of 512 MiB V8 makes the young generation 3 MiB, and is busy collecting it: three times 16 MiB save a
# quarter of the CPU of a start with 10,000 Jobs, and cost as much memory as they say at the most (measured).
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=16", "src/main.ts"]
CMD ["serve"]
