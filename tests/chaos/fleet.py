"""Worker processes and their supervisor, which replaces workers that exit.

Each runs under a guard (streams/local_broker/guard.py), so that none outlives this process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from streams.local_broker.guard import GuardedProcess
from streams.settings import Settings, as_environment
from tests.drivers.command import COMMAND

LOOK_EVERY_S = 0.1
REPLACED_AFTER_S = 1.0
# A worker gives up its orderly exit after 20 s; one that takes longer hangs.
STOP_S_MAX = 30.0
ABORT_S_MAX = 2.0
UP_S_MAX = 90.0


class Member:
    """One worker process."""

    def __init__(self, number: int, process: GuardedProcess, log: Path) -> None:
        self.name = f"worker {number}"
        self.process = process
        self.log = log
        self.paused = False
        self.may_exit = False
        """Whether it was killed or asked to exit, so that its exit is expected."""
        self._up = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it still runs."""
        if not self.process.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def is_up(self) -> bool:
        """Whether it has logged that it is up."""
        self._up = self._up or b"worker up" in self.log.read_bytes()
        return self._up

    def last_line(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "nothing"


class Fleet:
    """The workers, of which ``wanted`` are kept running; an asynchronous context manager."""

    def __init__(self, settings: Settings, folder: Path, wanted: int, report: Callable[[str], None]) -> None:
        self.wanted = wanted
        self.started = 0
        self.unexpected_exits: list[str] = []
        self.slow_exits: list[str] = []
        self.longest_without_s = 0.0
        """The longest time without any worker that was up and awake, once the first were."""
        # so that a worker that hangs prints its stack on SIGABRT
        tracing = {"PYTHONFAULTHANDLER": "1"}
        self._environment = {**as_environment(settings), "PYTHONPATH": os.pathsep.join(sys.path)} | tracing
        self._folder = folder
        self._report = report
        self._members: list[Member] = []
        self._supervising: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Fleet:
        for _ in range(self.wanted):
            self._start()
        self._supervising = asyncio.ensure_future(self._supervise())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.wait({self._supervising})
        for member in self._members:
            member.may_exit = True
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGTERM)
        for member in self._members:
            if not await asyncio.to_thread(member.process.ended.wait, STOP_S_MAX):
                self.slow_exits.append(f"{member.name} did not exit in {STOP_S_MAX:.0f} s: {member.last_line()}")
                member.signal(signal.SIGABRT)
                await asyncio.to_thread(member.process.ended.wait, ABORT_S_MAX)
                member.process.kill()
            await self._close(member)
        self._members.clear()

    # ------------------------------------------------------------------ the workers

    def awake(self) -> list[Member]:
        """The workers that are up and neither paused nor about to exit."""
        running = [m for m in self._members if not (m.process.ended.is_set() or m.paused or m.may_exit)]
        return [member for member in running if member.is_up()]

    def victims(self, kind: str) -> list[Member]:
        """The workers that a fault may hit.

        The oldest is only ever paused, so that what it uses can be followed over time.
        """
        awake = self.awake()
        return [member for member in awake if kind == "pause" or member is not self._members[0]]

    async def until_up(self) -> None:
        """Wait until ``wanted`` workers are up; raises RuntimeError with the ends of their logs."""
        deadline_s = asyncio.get_running_loop().time() + UP_S_MAX
        while len(self.awake()) < self.wanted:
            late = asyncio.get_running_loop().time() > deadline_s
            if late or len(self.unexpected_exits) > self.wanted:
                logs = [*self.unexpected_exits, *(f"{m.name} runs: {m.last_line()}" for m in self._members)]
                raise RuntimeError("the workers do not come up; see their logs:\n" + "\n".join(logs))
            await asyncio.sleep(LOOK_EVERY_S)

    # ------------------------------------------------------------------ faults

    def kill(self, member: Member) -> None:
        """End it as a crash would."""
        member.may_exit = True
        member.signal(signal.SIGKILL)

    def terminate(self, member: Member) -> None:
        """Ask for an orderly exit."""
        member.may_exit = True
        member.signal(signal.SIGTERM)

    async def pause(self, member: Member, for_s: float) -> None:
        """Stop it for a time and let it continue as if no time had passed."""
        member.paused = True
        member.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            member.signal(signal.SIGCONT)
            member.paused = False

    # ------------------------------------------------------------------ supervision

    def _start(self) -> None:
        self.started += 1
        log = self._folder / f"worker-{self.started}.log"
        log.touch()
        process = GuardedProcess([*COMMAND, "worker"], self._environment, self._folder, log, remove_folder=False)
        self._members.append(Member(self.started, process, log))

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        last_up_s: float | None = None
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.awake():
                last_up_s = loop.time()
            elif last_up_s is not None:
                self.longest_without_s = max(self.longest_without_s, loop.time() - last_up_s)
            for member in [member for member in self._members if member.process.ended.is_set()]:
                self._members.remove(member)
                if not member.may_exit:
                    self.unexpected_exits.append(
                        f"{member.name} exited by itself with code {member.process.exit_code}: {member.last_line()}"
                    )
                    self._report(self.unexpected_exits[-1])
                await self._close(member)
            if len([m for m in self._members if not m.may_exit]) < self.wanted:
                await asyncio.sleep(REPLACED_AFTER_S)
                self._start()

    async def _close(self, member: Member) -> None:
        await asyncio.to_thread(member.process.close, True)
