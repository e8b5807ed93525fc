"""Write jars.sha256: the jars that the local Kafka consists of, and their hashes.

Run it by hand to move to another Kafka: ``python deploy/kafka/pin_jars.py 4.3.1`` (needs ``rampwatch[broker]``
and the network). It asks Maven's own records what that version depends on, so read the difference before you
commit it: from then on ``streams/local_broker/broker.py`` runs exactly these files and no others.

Each line is ``<sha256>  <path>``, sorted by path. The path is the one inside a Maven cache, so that it holds the
coordinates as well as the file name, and ``sha256sum -c`` can check a cache against the list.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

LIST = Path(__file__).with_name("jars.sha256")
# Kafka logs through slf4j 1.7; this binding writes to standard error and needs no file of settings.
LOGGING = "org.slf4j:slf4j-simple:1.7.36"


def lines(kafka_version: str) -> list[str]:
    """Return the list's lines for one version of Kafka, fetching what the Maven cache lacks."""
    # Given by hand, so that a Maven on the PATH is never asked: the answer must not depend on the machine.
    context = MavenContext(resolver=PythonResolver(), timeout=60)
    wanted = [context.create_dependency(c) for c in (f"org.apache.kafka:kafka_2.13:{kafka_version}", LOGGING)]
    inputs, transitive = context.resolver.resolve(wanted)
    jars = [dependency.artifact.resolve() for dependency in [*inputs, *transitive]]
    return sorted(
        (f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {path}" for jar, path in _in_cache(context, jars)),
        key=lambda line: line.split()[1],
    )


def _in_cache(context: MavenContext, jars: list[Path]) -> list[tuple[Path, str]]:
    return [(jar, jar.relative_to(context.repo_cache).as_posix()) for jar in jars]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name the version of Kafka: python deploy/kafka/pin_jars.py 4.3.1")
    LIST.write_text("".join(line + "\n" for line in lines(sys.argv[1])))
