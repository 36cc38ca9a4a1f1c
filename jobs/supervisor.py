"""Keeps a handful of processes running, passes their output on line by line, and stops them in order."""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from db.embedded.process import die_with_parent

_LINE_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Backoff:
    """Seconds before a crashed process starts again: doubling from `first` to `most`, forgotten after `steady` s of life."""

    first: float = 0.5
    most: float = 30.0
    steady: float = 30.0

    def delay(self, crashes: int) -> float:
        """Return the pause after the `crashes`-th crash in a row, counted from 1."""
        return min(self.first * 2.0 ** min(crashes - 1, 30), self.most)


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, and how long it may take to end after SIGTERM before it is killed."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    grace: float = 10.0


@dataclass
class Supervisor:
    """Each `start` is a group; `stop` ends the groups in reverse order, the members of one together.

    `write(name, line)` gets what the processes print, and a line about each crash. The processes die with this one, even by
    kill -9, as long as the thread that runs the loop is the one that ends last.
    """

    write: Callable[[str, str], None]
    backoff: Backoff = Backoff()
    _groups: list[list["_Kept"]] = field(default_factory=list, init=False)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def start(self, *specs: ProcessSpec) -> None:
        """Start a group and return at once."""
        self._groups.append([_Kept(spec, write=self.write, backoff=self.backoff, hurry=self._hurry) for spec in specs])

    def hurry(self) -> None:
        """From now on a stop kills at once instead of waiting for the grace period."""
        self._hurry.set()

    async def stop(self) -> None:
        """End every process; none is left when this returns."""
        while self._groups:
            await asyncio.gather(*(kept.stop() for kept in self._groups[-1]))
            self._groups.pop()

    def pids(self) -> dict[str, int]:
        """Process ids of what runs at this moment, by name."""
        running = (kept for group in self._groups for kept in group if kept.process)
        return {kept.spec.name: kept.process.pid for kept in running if kept.process}


class _Kept:
    """One process that is started again whenever it ends."""

    def __init__(self, spec: ProcessSpec, *, write: Callable[[str, str], None], backoff: Backoff, hurry: asyncio.Event) -> None:
        self.spec = spec
        self.process: Process | None = None
        self._write = write
        self._backoff = backoff
        self._hurry = hurry
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        self._stopping.set()
        await self._task

    async def _keep(self) -> None:
        crashes = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                code: int | str = await self._run_once()
            except OSError as error:  # the program does not exist, or the machine has no room for it
                code = str(error)
            if self._stopping.is_set():
                return
            crashes = 1 if time.monotonic() - began > self._backoff.steady else crashes + 1
            delay = self._backoff.delay(crashes)
            self._write(self.spec.name, f"ended ({code}); starts again in {delay:g} s")
            await _within(delay, self._stopping.wait())

    async def _run_once(self) -> int:
        # a pipe of our own: asyncio's may delay the news of an exit until grandchildren have closed it too
        reading, writing = os.pipe()
        try:
            process = self.process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=self.spec.environment,
                stdin=DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,  # the terminal's Ctrl-C reaches only us
                preexec_fn=die_with_parent(),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        output = asyncio.create_task(self._pass_on(reading))
        ender = asyncio.create_task(self._end_when_asked(process))
        try:
            return await process.wait()
        finally:
            ender.cancel()
            _kill_group(process)  # what it started and left behind
            await output
            self.process = None

    async def _end_when_asked(self, process: Process) -> None:
        await self._stopping.wait()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        if not await _within(self.spec.grace, self._hurry.wait()):
            self._write(self.spec.name, f"did not end within {self.spec.grace:g} s and is killed")
        _kill_group(process)

    async def _pass_on(self, reading: int) -> None:
        stream = asyncio.StreamReader(limit=_LINE_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            while line := await _line(stream):
                self._write(self.spec.name, line.decode(errors="replace").rstrip("\n"))
        finally:
            transport.close()


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line of more than 1 MiB is left out)\n"


async def _within(seconds: float, waiting: Awaitable[object]) -> bool:
    """Whether `waiting` was over before `seconds` were."""
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True


def _kill_group(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
