"""Worker processes and who looks after them: what ends is replaced, as a service manager would.

Each runs under a guard (streams/local_broker/guard.py), so that none outlives this process, however it ends.
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

LOOK_EVERY_S = 0.1
REPLACED_AFTER_S = 1.0
# A worker ends itself after 20 s; what takes longer hangs.
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
        self.told_to_end = False
        self._up = False

    def signal(self, number: signal.Signals) -> None:
        if not self.process.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def is_up(self) -> bool:
        self._up = self._up or b"worker up" in self.log.read_bytes()
        return self._up

    def last_words(self) -> str:
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "nothing"


class Fleet:
    """The workers that there are, kept at ``wanted``; use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, folder: Path, wanted: int, say: Callable[[str], None]) -> None:
        self.wanted = wanted
        self.started = 0
        self.ended_by_themselves: list[str] = []
        self.slow_to_end: list[str] = []
        self.longest_without_s = 0.0
        """How long at most no worker was up and awake, once the first were."""
        # so that one that hangs can be made to say where
        traced = {"PYTHONFAULTHANDLER": "1"}
        self._environment = {**as_environment(settings), "PYTHONPATH": os.pathsep.join(sys.path)} | traced
        self._folder = folder
        self._say = say
        self._members: list[Member] = []
        self._looking: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Fleet:
        for _ in range(self.wanted):
            self._start()
        self._looking = asyncio.ensure_future(self._look_after())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        for member in self._members:
            member.told_to_end = True
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGTERM)
        for member in self._members:
            if not await asyncio.to_thread(member.process.ended.wait, STOP_S_MAX):
                self.slow_to_end.append(f"{member.name} did not end in {STOP_S_MAX:.0f} s: {member.last_words()}")
                member.signal(signal.SIGABRT)
                await asyncio.to_thread(member.process.ended.wait, ABORT_S_MAX)
                member.process.kill()
            await self._bury(member)
        self._members.clear()

    # ------------------------------------------------------------------ who there is

    def awake(self) -> list[Member]:
        """Those that have come up and run, but for the paused ones and those already told to end."""
        running = [m for m in self._members if not (m.process.ended.is_set() or m.paused or m.told_to_end)]
        return [member for member in running if member.is_up()]

    async def until_up(self) -> None:
        """Wait until as many as wanted have said that they are up; RuntimeError with last words where they do not."""
        deadline_s = asyncio.get_running_loop().time() + UP_S_MAX
        while len(self.awake()) < self.wanted:
            late = asyncio.get_running_loop().time() > deadline_s
            if late or len(self.ended_by_themselves) > self.wanted:
                said = [*self.ended_by_themselves, *(f"{m.name} runs: {m.last_words()}" for m in self._members)]
                raise RuntimeError("the workers do not come up; see their logs:\n" + "\n".join(said))
            await asyncio.sleep(LOOK_EVERY_S)

    # ------------------------------------------------------------------ what is done to them

    def kill(self, member: Member) -> None:
        """As a crash would end it."""
        member.told_to_end = True
        member.signal(signal.SIGKILL)

    def terminate(self, member: Member) -> None:
        """Ask it to end in order."""
        member.told_to_end = True
        member.signal(signal.SIGTERM)

    async def pause(self, member: Member, for_s: float) -> None:
        """Let it do nothing for so long, and then go on as if no time had passed."""
        member.paused = True
        member.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            member.signal(signal.SIGCONT)
            member.paused = False

    # ------------------------------------------------------------------ looking after them

    def _start(self) -> None:
        self.started += 1
        log = self._folder / f"worker-{self.started}.log"
        log.touch()
        command = [sys.executable, "-m", "streams.cli", "worker"]
        process = GuardedProcess(command, self._environment, self._folder, log, remove_folder=False)
        self._members.append(Member(self.started, process, log))

    async def _look_after(self) -> None:
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
                if not member.told_to_end:
                    self.ended_by_themselves.append(
                        f"{member.name} ended by itself with code {member.process.exit_code}: {member.last_words()}"
                    )
                    self._say(self.ended_by_themselves[-1])
                await self._bury(member)
            if len([m for m in self._members if not m.told_to_end]) < self.wanted:
                await asyncio.sleep(REPLACED_AFTER_S)
                self._start()

    async def _bury(self, member: Member) -> None:
        await asyncio.to_thread(member.process.close, True)
