"""Hints over Redis pub/sub that something of an account changed.

A hint carries ids, never data: whoever gets one reads PostgreSQL again, under row-level security. Hints may be lost, doubled
or late. After every reconnect, every POLL seconds while Redis is away, and once a minute in any case, listeners get a GAP,
upon which they read again as well; so a lost hint costs latency and never an update.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import orjson
import structlog
from broadcaster import Broadcast, Event
from broadcaster._backends.base import BroadcastBackend
from redis import asyncio as redis
from redis.exceptions import RedisError

POLL = 2.0
_SILENCE = 5.0  # after so long Redis is asked whether it is there, and has as long again to answer
_BELT = 60.0  # so often listeners read again in any case
_MAILBOX = 1_000
_GAP_MESSAGE = ""
_PUBLISH_WITHIN = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """Something of `noun`, such as 'job', changed."""

    noun: str
    id: UUID


@dataclass(frozen=True, slots=True)
class Announcement:
    """A change of something that `account_id` has, for whoever publishes it."""

    account_id: UUID
    change: Change


@dataclass(frozen=True, slots=True)
class Hint:
    """What changed since the last hint; with `gap`, unknown things may have changed too."""

    changes: frozenset[Change]
    gap: bool = False


class Mailbox:
    """Coalesces the hints of one listener: however slow it reads, memory is bounded."""

    def __init__(self) -> None:
        self._changes: set[Change] = set()
        self._gap = False
        self._filled = asyncio.Event()

    def put(self, change: Change | None) -> None:
        """Add a change; None, or one too many, becomes a gap."""
        if change is None or len(self._changes) >= _MAILBOX:
            self._changes.clear()
            self._gap = True
        else:
            self._changes.add(change)
        self._filled.set()

    async def get(self) -> Hint:
        """Wait for at least one change or gap, and take all there is."""
        await self._filled.wait()
        hint = Hint(frozenset(self._changes), self._gap)
        self._changes.clear()
        self._gap = False
        self._filled.clear()
        return hint

    async def __aiter__(self) -> AsyncIterator[Hint]:
        while True:
            yield await self.get()


class Events:
    """Publishes and listens for one process. One Redis subscription per account, however many listeners it has here."""

    def __init__(self, redis_url: str) -> None:
        self._backend = RedisHints(redis_url)
        self._broadcast = Broadcast(backend=self._backend)
        self._mailboxes: dict[UUID, dict[UUID | None, set[Mailbox]]] = defaultdict(lambda: defaultdict(set))
        self._pumps: dict[UUID, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Start listening; succeeds even while Redis is away."""
        await self._broadcast.connect()

    async def close(self) -> None:
        """Stop."""
        for account_id in tuple(self._pumps):
            self._stop(account_id)
        await asyncio.gather(*self._stopping, return_exceptions=True)  # they unsubscribe, and would open what is closed below
        with suppress(RedisError, OSError):
            await self._broadcast.disconnect()

    async def publish(self, account_id: UUID, changes: Iterable[Change]) -> None:
        """Tell every process's listeners. Raises RedisError or OSError when Redis is away (a TimeoutError is one)."""
        message = orjson.dumps([[change.noun, str(change.id)] for change in dict.fromkeys(changes)])
        async with asyncio.timeout(_PUBLISH_WITHIN):
            await self._broadcast.publish(_channel(account_id), message)

    @asynccontextmanager
    async def listen(self, account_id: UUID, subject_id: UUID | None = None) -> AsyncIterator[Mailbox]:
        """Hints about `subject_id`, or about all of the account. Once this is entered, no later change is missed."""
        mailbox = Mailbox()
        boxes = self._mailboxes[account_id]
        boxes[subject_id].add(mailbox)
        try:
            async with self._lock:  # two first listeners at once would otherwise replace each other's subscription
                if account_id not in self._pumps:
                    ready = asyncio.Event()
                    self._pumps[account_id] = asyncio.create_task(self._pump(account_id, ready))
                    try:
                        await ready.wait()
                    finally:  # also for a listener that leaves meanwhile: a pump can only be stopped once it has subscribed
                        await ready.wait()
            yield mailbox
        finally:
            boxes[subject_id].discard(mailbox)
            if not boxes[subject_id]:
                del boxes[subject_id]
            if not boxes and account_id in self._pumps:
                self._stop(account_id)
                self._mailboxes.pop(account_id, None)

    def _stop(self, account_id: UUID) -> None:
        pump = self._pumps.pop(account_id)
        self._stopping.add(pump)
        pump.add_done_callback(self._stopping.discard)
        pump.cancel()

    async def _pump(self, account_id: UUID, ready: asyncio.Event) -> None:
        async with self._broadcast.subscribe(_channel(account_id)) as subscriber:
            ready.set()
            while True:
                self._deliver(account_id, (await subscriber.get()).message)

    def _deliver(self, account_id: UUID, message: str) -> None:
        boxes = self._mailboxes.get(account_id)
        if not boxes:
            return
        changes = _read(message)
        if changes is None:
            for mailbox in [box for group in boxes.values() for box in group]:
                mailbox.put(None)
            return
        for change in changes:
            for mailbox in (*boxes.get(change.id, ()), *boxes.get(None, ())):
                mailbox.put(change)


def _read(message: str) -> list[Change] | None:
    """None for a gap. So is what nobody can read: it must not end the listening, and something did change."""
    if message == _GAP_MESSAGE:
        return None
    try:
        return [Change(noun, UUID(subject)) for noun, subject in orjson.loads(message)]
    except (ValueError, TypeError):
        log.warning("events.unreadable", message=message[:200])
        return None


def _channel(account_id: UUID) -> str:
    return f"bots:events:{account_id}"


class RedisHints(BroadcastBackend):
    """A backend of broadcaster that outlives Redis: it reconnects, subscribes again and then reports a gap on every channel.

    The stock one's listener ends silently when Redis restarts, and its subscribers then wait for ever.
    """

    def __init__(self, url: str) -> None:
        # A read of the pub/sub connection says itself how long it waits.
        self._redis: redis.Redis = redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)
        self._pubsub = self._redis.pubsub()
        self._channels: set[str] = set()
        self._unconfirmed: dict[str, asyncio.Event] = {}
        self._gaps: asyncio.Queue[str] = asyncio.Queue()
        self._wanted = asyncio.Event()
        self._lost = False
        self._asked = False
        self._gap_at = time.monotonic() + _BELT

    async def connect(self) -> None:
        """Nothing to do until the first channel is wanted."""

    async def disconnect(self) -> None:
        """Close both connections."""
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        await self._redis.aclose()

    async def subscribe(self, group: str) -> None:
        """Want `group`, and wait until Redis confirms; while Redis is away it is subscribed upon the reconnect."""
        self._channels.add(group)
        confirmed = self._unconfirmed[group] = asyncio.Event()
        try:
            await self._pubsub.subscribe(group)
            self._wanted.set()
            await asyncio.wait_for(confirmed.wait(), timeout=2)
        except (RedisError, OSError, TimeoutError):
            self._lost = True
            self._wanted.set()
        finally:
            self._unconfirmed.pop(group, None)

    async def unsubscribe(self, group: str) -> None:
        """Want `group` no more."""
        self._channels.discard(group)
        if not self._channels:
            self._wanted.clear()
        with suppress(RedisError, OSError):
            await self._pubsub.unsubscribe(group)

    async def publish(self, channel: str, message: Any) -> None:
        """Raises RedisError or OSError when Redis is away."""
        await self._redis.publish(channel, message)

    async def next_published(self) -> Event:
        """The next message or gap; never raises, since that would end broadcaster's listener for good."""
        while True:
            if not self._gaps.empty():
                return Event(self._gaps.get_nowait(), _GAP_MESSAGE)
            await self._wanted.wait()
            if time.monotonic() >= self._gap_at:
                self._report_gap()
                continue
            try:
                message = await self._receive()
            except (RedisError, OSError) as error:
                log.warning("redis.away", error=str(error))
                self._lost = True
                self._report_gap()
                await asyncio.sleep(POLL)
                continue
            if message is None:
                continue
            channel = message["channel"].decode()
            if message["type"] == "message":
                return Event(channel, message["data"].decode())
            if message["type"] == "subscribe" and channel in self._unconfirmed:
                self._unconfirmed[channel].set()

    async def _receive(self) -> Any:
        """The next message, or None soon. A connection whose other end vanished looks like one on which nothing is told."""
        if self._lost:
            await self._reconnect()
            return None
        message = await self._pubsub.get_message(timeout=_SILENCE)
        if message is not None:
            self._asked = False
            return None if message["type"] == "pong" else message
        if self._asked:
            raise TimeoutError("Redis does not answer any more")
        self._asked = True
        async with asyncio.timeout(_SILENCE):
            await self._pubsub.ping()
        return None

    async def _reconnect(self) -> None:
        async with asyncio.timeout(_SILENCE):
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            self._pubsub = self._redis.pubsub()
            await cast("Awaitable[bool]", self._redis.ping())
            if self._channels:
                await self._pubsub.subscribe(*self._channels)
        self._lost = self._asked = False
        log.info("redis.back", channels=len(self._channels))
        self._report_gap()

    def _report_gap(self) -> None:
        self._gap_at = time.monotonic() + _BELT
        for channel in self._channels:
            self._gaps.put_nowait(channel)
