"""Subscriptions that many watch: one execution and one encoding for all who may see the same.

A subscriber first runs its subscription alone: `follow` gives the feed's snapshot, or what came after the position to resume
from, and ends. Before that read it has taken a seat at the shared run of the same document, variables and scope, so whatever
happens meanwhile is kept for it; what the snapshot had already is dropped by position. Nothing is missed, nothing told twice.

A seat that is not emptied in time loses its contents and starts again from its last position, so that a slow client costs
bounded memory and never holds up the others. A subscription that does not call `follow` runs for its subscriber alone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Hashable
from contextlib import aclosing
from typing import Any, Final

from graph.execution import Context, Executor, Operation
from graph.feeds import Feed, Item, Reader

SEAT_SIZE: Final = 256  # answers kept for one subscriber


class Live:
    """Runs the subscriptions of one process."""

    def __init__(self, executor: Executor, *, seat_size: int = SEAT_SIZE) -> None:
        self.executor = executor
        self._seat_size = seat_size
        self._runs: dict[Hashable, SharedRun] = {}
        self._readers: dict[Hashable, Reader] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def stream(self, operation: Operation, context: Context) -> AsyncGenerator[bytes, None]:
        """Yield the encoded answers of a subscription until it ends. Close it to leave."""
        seat = Seat(self._seat_size)
        source = context
        try:
            while True:
                seat.clear()
                source.live = start = _Start(self, seat, operation, context)
                async with aclosing(self.executor.events(operation, source)) as answers:
                    async for answer in answers:
                        yield answer
                if not start.goes_on:
                    return
                while not seat.lost:
                    answer_or_none = seat.take()
                    if answer_or_none is not None:
                        yield answer_or_none
                    elif seat.closed:
                        return
                    else:
                        await seat.wait()
                if source is not context:
                    await source.close()
                # The subscriber's own context serves its first run only: by the next one, loaders remember what is old.
                source = context.for_feed(personal=start.personal)
        finally:
            seat.leave()
            if source is not context:
                await source.close()

    async def close(self) -> None:
        """End every shared run, and wait until all is released."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is watched, and nothing of what was is left."""
        return not (self._runs or self._readers or self._tasks)

    def run_of(self, operation: Operation, context: Context, *, personal: bool = False) -> "SharedRun":
        """The shared run that serves this operation in this scope (a personal one: this person); started if there is none."""
        key = (operation.sharing_key(context.scope), context.person if personal else None)
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = SharedRun(self, key, operation)
            run.task = self._spawn(run.play(context, personal=personal))
        return run

    def forget(self, run: "SharedRun") -> None:
        """Let the next subscriber start a new run."""
        if self._runs.get(run.key) is run:
            del self._runs[run.key]

    def reader_of(self, feed: Feed) -> Reader:
        """The one reader of the feed; started if there is none."""
        reader = self._readers.get(feed.key)
        if reader is None:
            reader = self._readers[feed.key] = Reader(feed)
            reader.run(*map(self._spawn, reader.work()))
        return reader

    def leave(self, reader: Reader, run: "SharedRun") -> None:
        """Take a run off its reader; with the last one the reading ends."""
        if reader.leave(run) and self._readers.get(reader.key) is reader:
            del self._readers[reader.key]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Seat:
    """One subscriber's place at a shared run: what it has still to send."""

    __slots__ = ("_answers", "_size", "_waiter", "closed", "lost", "position", "run")

    def __init__(self, size: int) -> None:
        self.run: SharedRun | None = None
        self.position: Any = None
        self.lost = False
        self.closed = False
        self._size = size
        self._answers: deque[tuple[Any, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def clear(self) -> None:
        """Forget what is kept: the snapshot that is read next has it."""
        self._answers.clear()
        self.lost = False

    def offer(self, position: Any, answer: bytes) -> None:
        """Keep an answer. Where there is no more room all are dropped, and the subscriber starts again."""
        if len(self._answers) >= self._size:
            self.lost = True
            self._answers.clear()
        elif not self.lost:
            self._answers.append((position, answer))
        self._wake()

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        self._wake()

    def take(self) -> bytes | None:
        """The next answer that the subscriber has not had; None if there is none now."""
        while self._answers:
            position, answer = self._answers.popleft()
            if position is None:
                return answer
            if position > self.position:
                self.position = position
                return answer
        return None

    async def wait(self) -> None:
        """Return when there is an answer, or a loss, or the end."""
        if not (self._answers or self.lost or self.closed):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def leave(self) -> None:
        """Give the seat up; with the last seat the shared run ends."""
        if self.run is not None:
            self.run.leave(self)
            self.run = None

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None


class SharedRun:
    """One execution of a subscription for all its seats."""

    def __init__(self, live: Live, key: Hashable, operation: Operation) -> None:
        self.key = key
        self.task: asyncio.Task[None] | None = None
        self.reader: Reader | None = None
        self.failed = False
        self.ready = asyncio.Event()
        self._live = live
        self._operation = operation
        self._seats: set[Seat] = set()
        self._position: Any = None

    def take(self, seat: Seat) -> None:
        """Give `seat` every answer from now on."""
        seat.leave()
        seat.closed = False
        seat.run = self
        self._seats.add(seat)

    def leave(self, seat: Seat) -> None:
        """Give it no more. The run ends with its last seat."""
        self._seats.discard(seat)
        if not self._seats and self.task is not None:
            self._live.forget(self)
            self.task.cancel()

    async def play(self, context: Context, *, personal: bool) -> None:
        """Execute and hand out until the feed ends or nobody is left; `context` is that of the first subscriber."""
        own = context.for_feed(personal=personal)
        own.live = self
        try:
            async with aclosing(self._live.executor.events(self._operation, own)) as answers:
                async for answer in answers:
                    # An answer that no new item explains is a failure: it has no position, and every seat is told.
                    position, self._position = self._position, None
                    for seat in self._seats:
                        seat.offer(position, answer)
        finally:
            self._live.forget(self)
            if self.reader is not None:
                self._live.leave(self.reader, self)
            self.failed = not self.ready.is_set()
            self.ready.set()
            for seat in self._seats:
                seat.close()
            await own.close()

    async def follow(self, feed: Feed, *, after: Any = None) -> AsyncGenerator[Item, None]:  # noqa: ARG002 - seats resume
        """What the resolver iterates over in the shared run: everything new, up to the feed's last item."""
        self.reader = reader = self._live.reader_of(feed)
        inbox = reader.join(self)
        await reader.listening.wait()
        self.ready.set()
        while True:
            item = await inbox.take()
            self._position = item.position
            yield item
            if getattr(item, "last", False):
                return


class _Start:
    """What the resolver follows when it runs for one subscriber: the snapshot, and no more."""

    def __init__(self, live: Live, seat: Seat, operation: Operation, context: Context) -> None:
        self.goes_on = False
        self.personal = False
        self._live = live
        self._seat = seat
        self._operation = operation
        self._context = context

    async def follow(self, feed: Feed, *, after: Any = None) -> AsyncGenerator[Item, None]:
        seat = self._seat
        run = seat.run
        self.personal = getattr(feed, "personal", False)
        if run is None or seat.closed:
            run = self._live.run_of(self._operation, self._context, personal=self.personal)
            run.take(seat)
        await run.ready.wait()
        if run.failed or run.reader is None:  # the seat holds the reason
            self.goes_on = True
            return
        position, items = await self._read(feed, run.reader, after if seat.position is None else seat.position)
        for item in items:
            yield item
            if getattr(item, "last", False):
                return
        seat.position = position
        self.goes_on = True

    async def _read(self, feed: Feed, reader: Reader, after: Any) -> tuple[Any, list[Item]]:
        covered = reader.position
        position, items = await feed.start(after)
        reader.begin(position)
        if covered is None:
            covered = reader.base
        if position < covered:  # somebody else's snapshot is newer, and the reader began at that
            position, more = await feed.since(position)
            items = [*items, *more]
        return position, list(items)
