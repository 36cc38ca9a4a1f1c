"""What a subscription follows, and the one reader that a process has for each feed."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import structlog

log = structlog.get_logger(__name__)

INBOX_SIZE: Final = 1_000  # items kept for one shared run
FIRST_PAUSE: Final = 0.05  # seconds, doubled at each failure
LONGEST_PAUSE: Final = 5.0


class Item(Protocol):
    """One thing that happened. An item with a true attribute `last` ends the feed."""

    @property
    def position(self) -> Any:
        """Where it stands; totally ordered within the feed."""


class Feed(Protocol):
    """A sequence of items that grows. `domain` has them; they are made anew by each resolver that follows one.

    Items are shared by all who follow a feed of the same key, so what differs between them goes into the key. A feed must
    outlive the context that made it: it holds the runtime and ids, not a transaction. One with a true attribute `personal` is
    followed by one person's devices only; for all others, who exactly asks is not known where it is made for many.
    """

    @property
    def key(self) -> Hashable:
        """Feeds of equal key have equal items."""

    async def start(self, after: Any) -> tuple[Any, Sequence[Item]]:
        """The snapshot, or what came after the position `after`; complete up to the position returned with it.

        A feed that has ended gives its last item in any case, so that the follower learns of the end.
        """

    async def since(self, position: Any) -> tuple[Any, Sequence[Item]]:
        """What came after `position`, complete up to the position returned with it."""

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """Hints that there may be something new, or that hints were lost. From its entry on none is missed."""


class Reader:
    """Reads a feed once for all who follow it in this process."""

    def __init__(self, feed: Feed) -> None:
        self.key = feed.key
        self.listening = asyncio.Event()
        self.base: Any = None
        self.position: Any = None
        self._feed = feed
        self._based = asyncio.Event()
        self._hinted = asyncio.Event()
        self._inboxes: dict[Hashable, Inbox] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, *tasks: asyncio.Task[None]) -> None:
        """Remember the tasks that end with the last follower."""
        self._tasks.extend(tasks)

    def begin(self, position: Any) -> None:
        """Read on from here, unless the reading has begun already."""
        if self.base is None:
            self.base = self.position = position
            self._based.set()
            self._hinted.set()  # what had been hinted at before anybody listened may become readable only now

    def join(self, follower: Hashable) -> "Inbox":
        """Give `follower` all items read from now on."""
        inbox = self._inboxes[follower] = Inbox(self)
        return inbox

    def leave(self, follower: Hashable) -> bool:
        """Take a follower off. True if it was the last, and the reading has ended."""
        self._inboxes.pop(follower, None)
        if not self._inboxes:
            for task in self._tasks:
                task.cancel()
        return not self._inboxes

    def work(self) -> tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]]:
        """What has to run side by side for as long as there are followers."""
        return self._listen(), self._read()

    async def since(self, position: Any) -> tuple[Any, Sequence[Item]]:
        """As the feed's, but patient: a failure is tried again until it succeeds."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._feed.since(position)
            except Exception:
                log.warning("feed.read_failed", feed=self.key, exc_info=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._feed.listen() as hints:
                    if self.listening.is_set():
                        self._hinted.set()  # nobody listened for a while
                    self.listening.set()
                    async for _ in hints:
                        pause = FIRST_PAUSE
                        self._hinted.set()
            except Exception:
                log.warning("feed.listen_failed", feed=self.key, exc_info=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _read(self) -> None:
        await self._based.wait()
        while True:
            # Hints that come while a read is under way are one hint: the next read has what all of them mean.
            await self._hinted.wait()
            self._hinted.clear()
            self.position, items = await self.since(self.position)
            if items:
                for inbox in self._inboxes.values():
                    inbox.put(items)


class Inbox:
    """Items on their way to one shared run. Where they come faster than it takes them, it reads them again by itself."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._position = reader.position
        self._items: deque[Item] = deque()
        self._overflowed = False
        self._filled = asyncio.Event()

    def put(self, items: Sequence[Item]) -> None:
        """Keep items, or where there is no room, that there were some."""
        if len(self._items) + len(items) > INBOX_SIZE:
            self._items.clear()
            self._overflowed = True
        elif not self._overflowed:
            self._items.extend(items)
        self._filled.set()

    async def take(self) -> Item:
        """Wait for the next item."""
        while True:
            if self._overflowed:
                # Cleared before the read: what is put during it is kept, and what the read had of it is dropped below.
                self._overflowed = False
                _, items = await self._reader.since(self._reader.base if self._position is None else self._position)
                self._items.extendleft(reversed(items))
            while self._items:
                item = self._items.popleft()
                if self._position is None or item.position > self._position:
                    self._position = item.position
                    return item
            if not self._overflowed:
                self._filled.clear()
                await self._filled.wait()
