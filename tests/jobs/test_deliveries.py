"""The delivering loop: bounded, undisturbed by failures, and it drops what it had in hand when it is stopped."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from jobs import deliveries
from jobs.deliveries import Outlet, deliver


class Queue:
    """Items to send, and who is at it."""

    def __init__(self, number: int) -> None:
        self.left = list(range(number))
        self.sent: list[int] = []
        self.at_once = self.most = 0
        self.gate = asyncio.Event()
        self.broken = 0
        self.changed = asyncio.Event()
        self.cancelled: list[int] = []

    async def claim(self, limit: int) -> Sequence[int]:
        if self.broken:
            self.broken -= 1
            raise OSError("The database is away.")
        claimed, self.left = self.left[:limit], self.left[limit:]
        return claimed

    async def send(self, item: int) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.changed.set()
        try:
            await self.gate.wait()
            if item == 2:
                raise ValueError("This one is bad.")
            self.sent.append(item)
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        finally:
            self.at_once -= 1
            self.changed.set()

    async def until(self, *, sent: int = 0, at_once: int = 0) -> None:
        async with asyncio.timeout(10):
            while len(self.sent) < sent or self.at_once < at_once:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def delivering(queue: Queue, capacity: int = 3) -> AsyncIterator[None]:
    loop = asyncio.create_task(deliver(Outlet("test", capacity, queue.claim, queue.send)))
    yield
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_all_is_sent_so_many_at_once() -> None:
    queue = Queue(10)
    async with delivering(queue):
        await queue.until(at_once=3)
        queue.gate.set()
        await queue.until(sent=9)
    assert queue.most == 3
    assert sorted(queue.sent) == [0, 1, 3, 4, 5, 6, 7, 8, 9]  # one that fails holds up no other


async def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "AFTER_FAILURE", 0.01)
    queue = Queue(1)
    queue.broken = 2
    queue.gate.set()
    async with delivering(queue):
        await queue.until(sent=1)


async def test_what_is_in_hand_when_it_stops_is_left_to_the_lease() -> None:
    queue = Queue(2)
    async with delivering(queue):
        await queue.until(at_once=2)
    assert (queue.at_once, sorted(queue.cancelled), queue.sent) == (0, [0, 1], [])
