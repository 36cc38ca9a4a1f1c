"""The system's own programs as real processes, to be stopped, frozen and killed."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from db.embedded.process import die_with_parent
from domain.settings import Settings
from tests.factories.engine import eventually

PROGRAM = (sys.executable, str(Path(__file__).parents[2] / "bots.py"))


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

    process: asyncio.subprocess.Process
    output: Path

    def said(self, words: str) -> bool:
        """Whether its output has `words`."""
        return words in self.output.read_text()

    async def until_it_says(self, words: str) -> None:
        """Wait for `words`."""

        async def look() -> bool:
            assert self.process.returncode is None, self.output.read_text()[-3000:]
            return self.said(words)

        await eventually(look)

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
    _started: list[Program] = field(default_factory=list)

    async def start(self, *arguments: str) -> Program:
        """Start `bots` with these arguments; returns at once."""
        output = self.folder / f"{len(self._started)}-{arguments[0]}.log"
        with output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *PROGRAM,
                *arguments,
                env=environment_of(self.settings),
                stdin=DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=die_with_parent(),  # a test run that is killed leaves nothing behind
            )
        program = Program(process, output)
        self._started.append(program)
        return program

    async def worker(self) -> Program:
        """A worker of the bulk lane that is ready for jobs."""
        worker = await self.start("worker", "bulk")
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

    async def close(self) -> None:
        """End what is left."""
        for program in self._started:
            await program.kill()


@asynccontextmanager
async def programs(settings: Settings, folder: Path) -> AsyncIterator[Programs]:
    """Processes of a system with these settings, until left."""
    started = Programs(settings, folder)
    try:
        yield started
    finally:
        await started.close()
