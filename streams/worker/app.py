"""A worker: builds the Faust app, and runs it until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Callable, Sequence
from typing import Final

import faust
from aiokafka.errors import KafkaError

from streams.core.digest import results_digest
from streams.core.errors import RampwatchError
from streams.core.site import Site
from streams.core.topics import JOINED, TALLIES
from streams.kafka import topics
from streams.kafka.client_errors import client_errors_mapped, is_client_failure, log_unhandled
from streams.kafka.connection import ACCESS_ERRORS, RESPONSE_S_MAX, access_error_message, is_reachable
from streams.log_format import described
from streams.resources.calibration import load_calibration
from streams.settings import Settings, warnings
from streams.worker import metrics
from streams.worker.agents import declare_agents
from streams.worker.aiokafka_patch import tolerate_unreadable_records, use_plain_records
from streams.worker.assigned_partitions import AssignedPartitions
from streams.worker.batch_consumer import batch_transport
from streams.worker.broadcast_reader import BroadcastReader
from streams.worker.credentials import credentials
from streams.worker.health import HealthPages, ProgressMonitor
from streams.worker.joined_ends import JoinedEnds
from streams.worker.outputs import DEAD_LETTER_BYTES_MAX, Outputs
from streams.worker.page_server import serve
from streams.worker.partition import Source
from streams.worker.readiness import Readiness
from streams.worker.rebuild import Recovery
from streams.worker.shutdown import GRACE_S, Shutdown, restart_process
from streams.worker.spike_counters import CounterService
from streams.worker.startup import await_prerequisites

_POLL_RECORDS: Final = 5_000
"""Records per poll, about 50 ms of work: trades throughput for latency."""
_FETCH_BYTES: Final = 4 * 2**20
_COLLECT_AFTER: Final = (100_000, 50, 50)
_POLL_S_MAX: Final = 10 * 365 * 86_400.0
"""Ten years: a worker with nothing to read, such as a spare, would otherwise leave the group and
not rejoin. `ProgressMonitor` detects a worker that hangs."""
_SEND_S_MAX: Final = 30.0
"""After that a send is retried and logged; Faust's default waits silently for twenty minutes."""
_LEAVE_S_MAX: Final = 5.0
_START_AGAIN_AFTER_S: Final = 1.0
_STALLED: Final = "no progress for {:.0f} s although there is work; another worker takes the partitions"

_NOT_STARTED: Final = "the worker waits for its broker, topics and rights"

log = logging.getLogger("rampwatch.worker")


class WorkerError(RampwatchError):
    """A worker that cannot start or go on; the message says why and what to do."""


class _App(faust.App):  # type: ignore[misc]
    """Faust's app without its folders: nothing is stored, and a hard exit leaves nothing behind."""

    def _create_directories(self) -> None:
        pass


def build(
    settings: Settings, site: Site, broadcast_sources: Sequence[Source], progress: ProgressMonitor
) -> tuple[faust.App, AssignedPartitions]:
    """Return the Faust app of a worker and its partitions; call it inside the running loop.

    ``broadcast_sources``: the partitions of the broadcast topics. ``progress``: is marked whenever
    the worker makes progress.
    """
    app = _App(
        settings.prefix + settings.group,
        broker=f"kafka://{settings.broker}",
        broker_credentials=credentials(settings),
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
    app.transport = batch_transport(
        app,
        names,
        settings.prefix,
        partitions,
        recovery,
        counters,
        JoinedEnds(settings, partitions.greatest_stamps_ms),
        progress,
    )
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

    Raises `WorkerError`, or `StartError` or `BrokerError` if it cannot start. If a client library
    fails, because the broker is away, the worker starts again in the same process.

    ``ready`` is called when the first assignment of partitions is taken over.
    """
    asyncio.get_running_loop().set_exception_handler(log_unhandled)
    progress = ProgressMonitor(settings.stalled_after_ms)
    shutdown = Shutdown(lambda: _hang(progress))
    for warning in warnings(settings):
        log.warning(warning)
    metrics.PARTITIONS_EXPECTED.set(settings.partitions)
    readiness: Readiness | None = None
    if settings.metrics_port:  # served from now on: a worker that waits is alive, but not ready
        _serve(settings, HealthPages(progress, lambda: readiness.reasons() if readiness else [_NOT_STARTED]))
    sources = await await_prerequisites(settings, shutdown.requested, progress)
    if sources is None:
        return
    # A worker's state has no reference cycles. Collecting as often as Python's default does takes a
    # third of the worker's time.
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    app, partitions = build(settings, site, sources, progress)
    if settings.metrics_port:
        readiness = Readiness(settings, partitions)
        readiness.start()
    error = await _work(app, settings, partitions, progress, shutdown.requested, ready)
    if error is None:
        shutdown.limit()
        await _stop(app)
    elif is_client_failure(error) and not isinstance(error, ACCESS_ERRORS):
        await _start_again(app, error, shutdown)
    else:
        shutdown.limit()
        await _stop(app)
        raise WorkerError(_why(settings, error))


async def _work(
    app: faust.App,
    settings: Settings,
    partitions: AssignedPartitions,
    progress: ProgressMonitor,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> BaseException | None:
    """Run until ``stop`` is set, a stall or a crash; return the error of a stall or a crash."""
    # The start may hang as well, if the broker goes away meanwhile.
    starting = asyncio.ensure_future(app.start())
    stopping, stalled = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(_stalled(settings, progress))
    ends = {stopping, stalled, asyncio.ensure_future(app.wait_until_stopped())}
    up = asyncio.ensure_future(partitions.first_assignment_ready.wait())
    waiting = {starting, up, *ends}
    error: BaseException | None = None
    while error is None and not ends & (done := (await asyncio.wait(waiting, return_when=FIRST_COMPLETED))[0]):
        waiting -= done
        if starting in done:
            error = asyncio.CancelledError() if starting.cancelled() else starting.exception()
        if up in done:
            ready()
    starting.cancel()
    if stopping.done():
        return None
    if stalled.done():
        return stalled.exception() or WorkerError(_STALLED.format(progress.age_s))
    # Faust's services may also end without a word, when something in them is cancelled
    return error or app.crash_reason or asyncio.CancelledError()


async def _start_again(app: faust.App, error: BaseException, shutdown: Shutdown) -> None:
    """Start the worker again in this process, or return if a signal asks it to stop.

    After some failures a client of aiokafka, or a thread of Faust's, is of no use any more.
    """
    log.error("the Kafka client failed (%s): the worker starts again in this process", described(error))
    stopping = asyncio.ensure_future(_stop(app))
    requested = asyncio.ensure_future(shutdown.requested.wait())
    # an orderly exit from the group lets other workers take over at once
    await asyncio.wait({stopping}, timeout=_LEAVE_S_MAX)
    if not shutdown.requested.is_set():
        await asyncio.wait({requested}, timeout=_START_AGAIN_AFTER_S)
    if not shutdown.requested.is_set():
        restart_process()
    await stopping


async def _stop(app: faust.App) -> None:
    """Stop the app: commit, leave the group, close the connections."""
    try:
        with client_errors_mapped():
            await app.stop()
    except KafkaError as error:
        log.warning("the connections to the broker were not closed properly (%s)", type(error).__name__)


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
    if isinstance(reason, WorkerError):
        return str(reason)
    what = str(reason) if isinstance(reason, RampwatchError) else described(reason)
    return f"the worker failed ({what}); another worker takes its partitions"


def _serve(settings: Settings, pages: HealthPages) -> None:
    try:
        serve(settings.metrics_host, settings.metrics_port, pages)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        raise WorkerError(f"{address}: cannot serve metrics there ({error.strerror}); choose another port") from None


def _hang(progress: ProgressMonitor) -> str | None:
    """Return why the process must exit at once: the event loop itself hangs."""
    if not progress.is_stalled_for(RESPONSE_S_MAX + GRACE_S):
        return None
    return f"the worker hangs: no progress for {progress.age_s:.0f} s; another worker takes the partitions"
