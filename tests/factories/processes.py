"""The system's own programs as real processes, to be stopped, frozen and killed."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from domain.settings import Settings
from tests.factories.engine import eventually
from tests.faults.nursery import Forked, Nursery


def environment_of(settings: Settings) -> dict[str, str]:
    """What a process must be told to have the same settings."""
    given = {name.upper(): _text(value) for name, value in settings if value is not None}
    return os.environ | given | {"PYTHONUNBUFFERED": "1"}


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return ",".join(f"{number}:{_text(key)}" for number, key in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


@dataclass
class Program:
    """One running process, and what it printed."""

    name: str
    process: Forked
    output: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def said(self, words: str) -> bool:
        """Whether its output has `words`."""
        return words in self.output.read_text()

    async def until_it_says(self, words: str, *, within: float = 20) -> None:
        """Wait for `words`."""

        async def look() -> bool:
            assert self.process.returncode is None, self.output.read_text()[-3000:]
            return self.said(words)

        await eventually(look, within=within)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it with kill -9."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        async with asyncio.timeout(20):
            return await self.process.wait()


@dataclass
class Programs:
    """Starts processes of one system and ends those that are left."""

    settings: Settings
    folder: Path
    nursery: Nursery
    environment: Mapping[str, str] = field(default_factory=dict)
    started: list[Program] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def start(self, *arguments: str, **environment: str) -> Program:
        """Start `bots` with these arguments; returns at once."""
        name = "-".join(arguments[:2] if arguments[0] == "worker" else arguments[:1])
        output = self.folder / f"{next(self._numbers)}-{name}.log"
        output.touch()
        told = {**environment_of(self.settings), **self.environment, **environment}
        program = Program(name, await self.nursery.start(*arguments, environment=told, output=output), output)
        self.started.append(program)
        return program

    async def worker(self, lane: str = "bulk") -> Program:
        """A worker of a lane that is ready for jobs."""
        worker = await self.start("worker", lane)
        await worker.until_it_says("worker.started")
        return worker

    async def clock(self) -> Program:
        """A clock that sweeps."""
        clock = await self.start("clock")
        await clock.until_it_says("clock.started")
        return clock

    async def web(self, port: int) -> Program:
        """A web server that is ready for requests."""
        web = await self.start("web", "--port", str(port))

        async def is_ready() -> bool:
            assert web.process.returncode is None, web.output.read_text()[-3000:]
            try:
                async with httpx.AsyncClient() as http:
                    return (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success
            except httpx.TransportError:
                return False

        await eventually(is_ready)
        return web

    def of(self, pid: int) -> Program:
        """The program with this process id."""
        return next(program for program in self.started if program.pid == pid)

    async def close(self) -> None:
        """End what is left."""
        for program in self.started:
            await program.kill()


@asynccontextmanager
async def programs(
    settings: Settings, folder: Path, nursery: Nursery, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Programs]:
    """Processes of a system with these settings, until left."""
    started = Programs(settings, folder, nursery, environment or {})
    try:
        yield started
    finally:
        await started.close()
