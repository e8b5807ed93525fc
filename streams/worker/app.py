"""A worker: the Faust app, put together, run until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import faust
from aiokafka.errors import KafkaError

from streams.core.digest import answers_digest
from streams.core.errors import RampwatchError
from streams.core.events import JOINED, TALLIES
from streams.core.site import Site
from streams.kafka import permissions, topics
from streams.kafka.connection import ANSWER_S_MAX, DENIED, answers, denied
from streams.resources.calibration import load_calibration
from streams.settings import Settings, cautions
from streams.worker.agents import declare_agents
from streams.worker.aiokafka_patch import take_plain
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.batch_consumer import batch_transport
from streams.worker.broadcast_reader import BroadcastReader
from streams.worker.credentials import credentials
from streams.worker.health import Pages, ProgressMonitor, serve
from streams.worker.outputs import DEAD_LETTER_BYTES_MAX, Outputs
from streams.worker.partition import Source
from streams.worker.rebuild import Recovery
from streams.worker.spike_counters import CounterService

_GRACE_S = 20.0
"""How long a stop may take; then the process ends itself, and its partitions are somebody else's."""
_HUNG: Final = 70
"""The exit code then."""

_POLL_RECORDS: Final = 5_000
"""At a time: fewer cost speed, with more whoever waits for a shot waits longer. Some 50 ms of work."""
_FETCH_BYTES: Final = 4 * 2**20
_COLLECT_AFTER: Final = (100_000, 50, 50)
_POLL_S_MAX: Final = 10 * 365 * 86_400.0
"""Never: who has nothing to read, as a spare worker, would leave the group and not come back. A worker that hangs is
found by its pulse."""
_SEND_S_MAX: Final = 30.0
"""Then what could not be sent is sent again, and said; Faust waits in silence for twenty minutes."""

log = logging.getLogger("rampwatch.worker")


class WorkerError(RampwatchError):
    """A worker that cannot start; the message says what to do."""


def build(
    settings: Settings, site: Site, shared: Sequence[Source], data: str, progress: ProgressMonitor
) -> tuple[faust.App, AssignedPartitions]:
    """Return the Faust app of a worker and what it joins with; call it inside the running loop.

    ``shared``: the partitions of the broadcast topics; ``data``: an empty folder of its own; ``progress``: told
    of progress.
    """
    app = faust.App(
        settings.prefix + settings.group,
        broker=f"kafka://{settings.broker}",
        broker_credentials=credentials(settings),
        datadir=data,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_commit_interval=1.0,
        broker_max_poll_interval=_POLL_S_MAX,
        broker_max_poll_records=_POLL_RECORDS,
        consumer_max_fetch_size=_FETCH_BYTES,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.session_timeout_ms / 5000,
        consumer_auto_offset_reset="earliest",
        producer_max_request_size=DEAD_LETTER_BYTES_MAX + topics.HEADERS_BYTES_MAX,
        producer_compression_type="gzip",
        producer_request_timeout=_SEND_S_MAX,
        stream_wait_empty=False,
        value_serializer="raw",
        key_serializer="raw",
        autodiscover=False,
    )
    calibration = load_calibration()
    outputs = Outputs(app, settings, answers_digest(site, settings.join, calibration), progress)
    partitions = AssignedPartitions(site, settings.join, calibration, outputs, shared, settings.partitions)
    names = [settings.prefix + topic for topic in JOINED]
    counting = CounterService(settings, site, outputs.headers)
    take_plain(names if settings.plain_records else ())
    recovery = Recovery(settings, partitions, outputs.headers, progress)
    # before the first agent is declared: declaring one builds the transport
    app.transport = batch_transport(app, names, settings.prefix, partitions, recovery, counting, progress)
    reader = BroadcastReader(settings, partitions, progress, loop=app.loop, beacon=app.beacon)
    app.service(_given(reader))
    for name in (*names, settings.prefix + TALLIES):
        app.topics.add(app.topic(name, value_type=bytes, value_serializer="raw"))
    declare_agents(app, settings.prefix, partitions.intake, site, reader, outputs)
    app.finalize()
    return app, partitions


def _given(service: BroadcastReader) -> type[BroadcastReader]:
    """A class, as Faust wants one, that makes the service that is there already."""

    class Given(BroadcastReader):
        def __new__(cls, *args: object, **kwargs: object) -> BroadcastReader:
            return service

    return Given


async def run(settings: Settings, site: Site, ready: Callable[[], None]) -> None:
    """Run a worker until SIGINT or SIGTERM; raises `WorkerError`, `BrokerError` where it cannot start.

    ``ready`` is called when the worker has taken over its first share of the partitions.
    """
    for caution in cautions(settings):
        log.warning(caution)
    if lacking := await permissions.missing(settings, "worker"):
        raise WorkerError("the broker does not permit what a worker does:\n  " + "\n  ".join(lacking))
    faults = await topics.check(settings)
    if faults:
        raise WorkerError("the topics are not as a worker needs them:\n  " + "\n  ".join(faults))
    # what a worker keeps has no cycles: looking for some, as often as Python does by itself, costs a third of its time
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    with tempfile.TemporaryDirectory(prefix="rampwatch-") as data:
        progress = ProgressMonitor(settings.stalled_after_ms)
        app, partitions = build(settings, site, await topics.broadcast_sources(settings), data, progress)
        _end_hard_where_hung(progress)
        if settings.metrics_port:
            _serve(settings, Pages(progress, lambda: partitions.is_ready))
        error = await _work(app, settings, partitions, progress, ready)
        is_stalled = progress.is_stalled
        _end_hard_after(_GRACE_S)
        await app.stop()
    if error is not None:
        raise WorkerError(_why(settings, error))
    if is_stalled:
        raise WorkerError(f"no progress in {progress.age_s:.0f} s though there is work; the partitions go to another")


async def _work(
    app: faust.App,
    settings: Settings,
    partitions: AssignedPartitions,
    progress: ProgressMonitor,
    ready: Callable[[], None],
) -> BaseException | None:
    """Work until a signal comes, until nothing moves any more, or until something breaks: that is returned."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # a start may hang as well, where the broker goes away meanwhile
    starting = asyncio.ensure_future(app.start())
    ends = {asyncio.ensure_future(end) for end in (stop.wait(), app.wait_until_stopped(), _stalled(settings, progress))}
    up = asyncio.ensure_future(partitions.first_assignment_ready.wait())
    waiting = {starting, up, *ends}
    while not ends & (done := (await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))[0]):
        waiting -= done
        error: BaseException | None = starting.exception() if starting in done else None
        if error is not None:
            return error
        if up in done:
            ready()
    starting.cancel()
    reason: BaseException | None = app.crash_reason if app.crashed else None
    return reason


async def _stalled(settings: Settings, progress: ProgressMonitor) -> None:
    """Return when the worker has had work, a broker that answers, and no progress for too long."""
    while not (progress.is_stalled and await answers(settings)):
        if progress.is_stalled:
            log.warning("no progress in %.0f s, and the broker does not answer: waiting for it", progress.age_s)
            progress.mark()
        await asyncio.sleep(1)


def _why(settings: Settings, reason: BaseException) -> str:
    """What ended the worker; not what an error holds, for that may be a plate."""
    if isinstance(reason, DENIED):
        return denied(settings, reason)
    what = str(reason) if isinstance(reason, RampwatchError | KafkaError) else type(reason).__name__
    return f"the worker broke down ({what}); its partitions go to another"


def _serve(settings: Settings, pages: Pages) -> None:
    try:
        serve(settings.metrics_host, settings.metrics_port, pages)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        raise WorkerError(
            f"{address}: no metrics can be served there ({error.strerror}); choose another port"
        ) from None


def _end_hard_where_hung(progress: ProgressMonitor) -> None:
    """End the process if it stalls and does not even end itself: what would do that may be what hangs."""

    def watch() -> None:
        while not progress.is_stalled_for(ANSWER_S_MAX + _GRACE_S):
            time.sleep(1)
        _end_hard(f"the worker hangs: no progress in {progress.age_s:.0f} s; its partitions go to another")

    threading.Thread(target=watch, name="watchdog", daemon=True).start()


def _end_hard_after(grace_s: float) -> None:
    """End the process if stopping takes longer: a worker that hangs must not keep its partitions."""
    said = f"stopping takes longer than {grace_s:.0f} s: ended hard; what was not committed is read again by the next"
    timer = threading.Timer(grace_s, _end_hard, args=(said,))
    timer.daemon = True
    timer.start()


def _end_hard(said: str) -> None:
    sys.stderr.write(said + "\n")
    os._exit(_HUNG)
