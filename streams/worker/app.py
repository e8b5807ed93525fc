"""A worker: builds the Faust app, and runs it until it is stopped."""

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

from streams.core.digest import results_digest
from streams.core.errors import RampwatchError
from streams.core.site import Site
from streams.core.topics import JOINED, TALLIES
from streams.kafka import permissions, topics
from streams.kafka.connection import ACCESS_ERRORS, RESPONSE_S_MAX, access_error_message, is_reachable
from streams.resources.calibration import load_calibration
from streams.settings import Settings, warnings
from streams.worker.agents import declare_agents
from streams.worker.aiokafka_patch import tolerate_unreadable_records, use_plain_records
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.batch_consumer import batch_transport
from streams.worker.broadcast_reader import BroadcastReader
from streams.worker.credentials import credentials
from streams.worker.health import HealthPages, ProgressMonitor
from streams.worker.outputs import DEAD_LETTER_BYTES_MAX, Outputs
from streams.worker.page_server import serve
from streams.worker.partition import Source
from streams.worker.readiness import Readiness
from streams.worker.rebuild import Recovery
from streams.worker.spike_counters import CounterService

_GRACE_S = 20.0
"""How long a stop may take before the process exits and gives up its partitions."""
_HARD_EXIT_CODE: Final = 70

_POLL_RECORDS: Final = 5_000
"""Records per poll, about 50 ms of work: trades throughput for latency."""
_FETCH_BYTES: Final = 4 * 2**20
_COLLECT_AFTER: Final = (100_000, 50, 50)
_POLL_S_MAX: Final = 10 * 365 * 86_400.0
"""Ten years: a worker with nothing to read, such as a spare, would otherwise leave the group and
not rejoin. `ProgressMonitor` detects a worker that hangs."""
_SEND_S_MAX: Final = 30.0
"""After that a send is retried and logged; Faust's default waits silently for twenty minutes."""

log = logging.getLogger("rampwatch.worker")


class WorkerError(RampwatchError):
    """A worker that cannot start or go on; the message says why and what to do."""


def build(
    settings: Settings, site: Site, broadcast_sources: Sequence[Source], data: str, progress: ProgressMonitor
) -> tuple[faust.App, AssignedPartitions]:
    """Return the Faust app of a worker and its partitions; call it inside the running loop.

    ``broadcast_sources``: the partitions of the broadcast topics. ``data``: an empty folder for
    Faust. ``progress``: is marked whenever the worker makes progress.
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
    calibration = load_calibration(settings.calibration)
    outputs = Outputs(app, settings, results_digest(site, settings.join, calibration), progress)
    partitions = AssignedPartitions(
        site, settings.join, calibration, outputs, broadcast_sources, settings.partitions, progress.mark
    )
    names = [settings.prefix + topic for topic in JOINED]
    counters = CounterService(settings, site, outputs.headers)
    tolerate_unreadable_records()
    use_plain_records(names if settings.plain_records else ())
    recovery = Recovery(settings, partitions, outputs.headers, progress)
    # Set before the first agent is declared, because declaring one creates the transport.
    app.transport = batch_transport(app, names, settings.prefix, partitions, recovery, counters, progress)
    reader = BroadcastReader(settings, partitions, progress, loop=app.loop, beacon=app.beacon)
    app.service(_class_for(reader))
    for name in (*names, settings.prefix + TALLIES):
        app.topics.add(app.topic(name, value_type=bytes, value_serializer="raw"))
    declare_agents(app, settings.prefix, reader, outputs)
    app.finalize()
    return app, partitions


def _class_for(service: BroadcastReader) -> type[BroadcastReader]:
    """Return a class whose only instance is ``service``: Faust takes classes, not services."""

    class Existing(BroadcastReader):
        def __new__(cls, *args: object, **kwargs: object) -> BroadcastReader:
            return service

    return Existing


async def run(settings: Settings, site: Site, ready: Callable[[], None]) -> None:
    """Run a worker until SIGINT or SIGTERM.

    Raises `WorkerError`, or `BrokerError` if it cannot start.

    ``ready`` is called when the first assignment of partitions is taken over.
    """
    for warning in warnings(settings):
        log.warning(warning)
    if lacking := await permissions.missing(settings, "worker"):
        raise WorkerError("this user lacks rights that a worker needs:\n  " + "\n  ".join(lacking))
    if problems := await topics.check(settings):
        raise WorkerError("the topics are not as a worker needs them:\n  " + "\n  ".join(problems))
    # A worker's state has no reference cycles. Collecting as often as Python's default does takes a
    # third of the worker's time.
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    with tempfile.TemporaryDirectory(prefix="rampwatch-") as data:
        progress = ProgressMonitor(settings.stalled_after_ms)
        app, partitions = build(settings, site, await topics.broadcast_sources(settings), data, progress)
        _start_watchdog(progress)
        if settings.metrics_port:
            readiness = Readiness(settings, partitions)
            _serve(settings, HealthPages(progress, readiness.reasons))
            readiness.start()
        error = await _work(app, settings, partitions, progress, ready)
        is_stalled = progress.is_stalled
        _exit_hard_after(_GRACE_S)
        await app.stop()
    if error is not None:
        raise WorkerError(_why(settings, error))
    if is_stalled:
        raise WorkerError(
            f"no progress for {progress.age_s:.0f} s although there is work; another worker takes the partitions"
        )


async def _work(
    app: faust.App,
    settings: Settings,
    partitions: AssignedPartitions,
    progress: ProgressMonitor,
    ready: Callable[[], None],
) -> BaseException | None:
    """Run until a signal, a stall or a crash; return the error of a crash."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # The start may hang as well, if the broker goes away meanwhile.
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
    """Return once the worker has made no progress for too long although the broker answers."""
    while not (progress.is_stalled and await is_reachable(settings)):
        if progress.is_stalled:
            log.warning("no progress for %.0f s, and the broker does not answer: waiting for it", progress.age_s)
            progress.mark()
        await asyncio.sleep(1)


def _why(settings: Settings, reason: BaseException) -> str:
    """Return why the worker ended, without the text of foreign errors, which may hold a plate."""
    if isinstance(reason, ACCESS_ERRORS):
        return access_error_message(settings, reason)
    what = str(reason) if isinstance(reason, RampwatchError | KafkaError) else type(reason).__name__
    return f"the worker failed ({what}); another worker takes its partitions"


def _serve(settings: Settings, pages: HealthPages) -> None:
    try:
        serve(settings.metrics_host, settings.metrics_port, pages)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        raise WorkerError(f"{address}: cannot serve metrics there ({error.strerror}); choose another port") from None


def _start_watchdog(progress: ProgressMonitor) -> None:
    """Exit if the worker stalls and does not stop: the event loop itself may hang."""

    def watch() -> None:
        while not progress.is_stalled_for(RESPONSE_S_MAX + _GRACE_S):
            time.sleep(1)
        _exit_hard(f"the worker hangs: no progress for {progress.age_s:.0f} s; another worker takes its partitions")

    threading.Thread(target=watch, name="watchdog", daemon=True).start()


def _exit_hard_after(grace_s: float) -> None:
    """Exit if stopping takes longer: a worker that hangs must not keep its partitions."""
    message = f"not stopped within {grace_s:.0f} s: exiting; the next owner reads again what was not committed"
    timer = threading.Timer(grace_s, _exit_hard, args=(message,))
    timer.daemon = True
    timer.start()


def _exit_hard(message: str) -> None:
    sys.stderr.write(message + "\n")
    os._exit(_HARD_EXIT_CODE)
