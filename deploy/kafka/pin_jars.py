"""Writes jars.sha256: the jars of the local Kafka, with their hashes.

Run it by hand to move to another version: ``python deploy/kafka/pin_jars.py 4.3.1`` (needs
``rampwatch[broker]`` and the network). It resolves the dependencies of that version from Maven
metadata. Review the diff before you commit it: from then on ``streams/local_broker`` runs exactly
these files.

Each line is ``<sha256>  <path>``, sorted by path. The path is relative to a Maven cache, so it
contains the Maven coordinates, and ``sha256sum -c`` can check a cache against the list.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

LIST = Path(__file__).with_name("jars.sha256")
# Kafka logs through slf4j 1.7. This binding logs to standard error and needs no configuration file.
LOGGING = "org.slf4j:slf4j-simple:1.7.36"


def lines(kafka_version: str) -> list[str]:
    """Return the lines for a version of Kafka; downloads the jars missing from the Maven cache."""
    # Set the resolver explicitly: a Maven on the PATH would make the result depend on the machine.
    context = MavenContext(resolver=PythonResolver(), timeout=60)
    roots = [
        context.create_dependency(coordinates)
        for coordinates in (f"org.apache.kafka:kafka_2.13:{kafka_version}", LOGGING)
    ]
    inputs, transitive = context.resolver.resolve(roots)
    jars = [dependency.artifact.resolve() for dependency in [*inputs, *transitive]]
    return sorted(
        (f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {path}" for jar, path in _in_cache(context, jars)),
        key=lambda line: line.split()[1],
    )


def _in_cache(context: MavenContext, jars: list[Path]) -> list[tuple[Path, str]]:
    return [(jar, jar.relative_to(context.repo_cache).as_posix()) for jar in jars]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("no version of Kafka given; name one, as in: python deploy/kafka/pin_jars.py 4.3.1")
    LIST.write_text("".join(line + "\n" for line in lines(sys.argv[1])))
