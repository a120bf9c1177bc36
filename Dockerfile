# syntax=docker/dockerfile:1

ARG RUST=1.95
ARG NODE=22
# It has no shell. CARDEA_MASTER_KEY_COMMAND needs one: --build-arg RUNTIME=debian:bookworm-slim
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM node:${NODE}-bookworm-slim AS node

FROM rust:${RUST}-slim-bookworm AS build
# GraphiQL is built with npm; Debian's own Node is too old for it.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
# .dockerignore names what comes along.
COPY . .
# What is compiled stays in caches, and comes out stripped: names of functions stay in it, for backtraces.
# Without npm's registry the page would load from a CDN, and the build go on; not here.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/root/.npm,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin cardea \
    && ! grep -q 'standalone&external=' target/release/cardea \
    && strip --strip-debug -o /cardea target/release/cardea \
    && /cardea --version

# hadolint ignore=DL3006
FROM ${RUNTIME}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Cardea" \
      org.opencontainers.image.description="User accounts behind one GraphQL schema, on PostgreSQL" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/cardea/
COPY --from=build /cardea /usr/local/bin/cardea
ENV CARDEA_MODE=production \
    CARDEA_LISTEN=0.0.0.0:8000
# By number: Kubernetes cannot tell that a name is not root.
USER 65532:65532
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/cardea", "health"]
ENTRYPOINT ["/usr/local/bin/cardea"]
CMD ["serve"]
