"""Named places in the system's own programs where a test lets a process stand still, to kill or freeze it there.

The product knows nothing of them: the test's processes wrap the functions that are named here, before they run. A process
that comes to a barrier says so on a socket; the other end lets it go on at once, unless a test has armed the barrier.
"""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from domain.actor import Actor

ADDRESS = "TEST_BARRIERS"

# The barriers `NAME:before` and `NAME:after` stand around these.
PLACES = {
    "admission": "domain.runtime:Runtime.admit",
    "push": "domain.jobs.carrier:Carrier.push",
    "effect-done": "domain.jobs.effects:_done",
    "fire": "domain.schedules.firing:carry_out",
    "send": "domain.notifications.outbox:Outbox._hand_over",
}


async def stand(name: str) -> None:
    """Called by a process: wait here until the test lets it go on. A process whose test is gone stays where it is."""
    if ADDRESS not in os.environ:
        return
    reader, writer = await asyncio.open_unix_connection(os.environ[ADDRESS])
    writer.write(f"{name} {os.getpid()}\n".encode())
    if not await reader.read(1):
        await asyncio.Event().wait()
    writer.close()


def install() -> None:
    """Wrap what PLACES names, and the unit's commit where it has asked for a job."""
    for name, place in PLACES.items():
        module, _, path = place.partition(":")
        owner: Any = import_module(module)
        *owners, attribute = path.split(".")
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, attribute, _between(name, getattr(owner, attribute)))
    runtime: Any = import_module("domain.runtime")
    runtime._unit = _committing(runtime._unit)


def _between(name: str, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if [] in args:  # a push of nothing is none
            return await function(*args, **kwargs)
        await stand(f"{name}:before")
        result = await function(*args, **kwargs)
        await stand(f"{name}:after")
        return result

    return wrapped


def _committing(open_unit: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def wrapped(runtime: Any, actor: Actor) -> AsyncIterator[Any]:
        async with open_unit(runtime, actor) as unit:
            yield unit
            if unit.lanes_to_admit:
                await stand("commit:before")

    return wrapped


@dataclass(frozen=True)
class Arrival:
    """A process that stands at a barrier."""

    pid: int
    _writer: asyncio.StreamWriter

    async def go_on(self) -> None:
        """Let it."""
        self._writer.write(b".")
        await self.close()

    async def close(self) -> None:
        """Hang up; where it stood until now, it stays."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


@dataclass
class Barriers:
    """The test's side."""

    path: Path
    _armed: dict[str, asyncio.Queue[Arrival]] = field(default_factory=dict)
    _only: dict[str, int] = field(default_factory=dict)
    _stood: list[Arrival] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What processes must be told to stop at these."""
        return {ADDRESS: str(self.path)}

    def arm(self, name: str, *, only: int | None = None) -> None:
        """From now on whoever comes to it stands still, or only the process with this id."""
        self._armed[name] = asyncio.Queue()
        self._only.pop(name, None)
        if only is not None:
            self._only[name] = only

    def disarm(self, name: str) -> None:
        """Let everybody pass again; who stands there already stays."""
        del self._armed[name]

    async def reached(self, name: str) -> Arrival:
        """Wait until a process stands at an armed barrier."""
        async with asyncio.timeout(20):
            return await self._armed[name].get()

    async def _arrives(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, _, pid = (await reader.readline()).decode().strip().rpartition(" ")
        arrival = Arrival(int(pid), writer)
        if name in self._armed and self._only.get(name, arrival.pid) == arrival.pid:
            self._stood.append(arrival)
            self._armed[name].put_nowait(arrival)
        else:
            await arrival.go_on()


@asynccontextmanager
async def barriers(folder: Path) -> AsyncIterator[Barriers]:
    """Barriers of one's own, none of them armed."""
    opened = Barriers(folder / "barriers")
    server = await asyncio.start_unix_server(opened._arrives, opened.path)
    try:
        yield opened
    finally:
        server.close()
        for arrival in opened._stood:
            await arrival.close()
