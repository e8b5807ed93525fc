#!/bin/sh
# Writes the pinned and hashed requirements: requirements.txt to run rampwatch,
# requirements-demo.txt to also run a local Kafka, requirements-dev.txt to also test it.
# All three have the same versions and no registry address. Needs uv on the PATH.
set -eu
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
        --no-annotate "$@" pyproject.toml
}
compile --extra dev --output-file requirements-dev.txt
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
grep == requirements-dev.txt | sed 's/ \\$//' > "$pins"
compile --extra broker --extra build --constraint "$pins" --output-file requirements-demo.txt
compile --constraint "$pins" --output-file requirements.txt
