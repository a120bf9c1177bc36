# Commands of everyday work; `just` lists them.
_default:
    @just --list

# Serve, on the server's own PostgreSQL
dev *args:
    cargo run -- {{ args }}

# Run the tests
test *args:
    cargo test {{ args }}

# Write the generated files anew: schema.graphql, and src/schema.rs from the database at DATABASE_URL
gen:
    cargo run --quiet -- schema print > schema.graphql
    [ -z "${DATABASE_URL:-}" ] || diesel print-schema > src/schema.rs

# What CI checks
check:
    bash .ci/run

# Feed a fuzz target until it fails or you stop it; what it finds new goes into fuzz/corpus
fuzz target *args:
    cargo fuzz run --sanitizer none --codegen-units 16 --no-cfg-fuzzing {{ target }} {{ args }}

# Licences, bans and advisories of dependencies
deny:
    cargo deny check

# What the program is made of, as CycloneDX, in target/sbom
sbom *args:
    .ci/sbom {{ args }}

# Upgrade from the last release, or from a revision, under load, and back
upgrade *args:
    .ci/upgrade {{ args }}

# Measure beside pgbench and other servers; `just bench --write` keeps the tables
bench *args:
    cargo build --release
    cargo build --release --example hello
    npm ci --prefix bench/peers
    node bench/run.mjs {{ args }}

# Let things go wrong and say what came of it; `just chaos --write` keeps the tables
chaos *args:
    cargo build --release
    node chaos/run.mjs {{ args }}

# Count the instructions of requests
instructions:
    cargo bench --bench instructions
