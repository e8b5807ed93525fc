#!/bin/sh
# Pins and hashes what rampwatch stands on: requirements.txt to run it, -demo with a local Kafka, -dev to test it.
# One resolution for all three, no address of a registry in any. Needs uv on the PATH.
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
