"""Keeps all our processes together under a vendor's limit of `burst` requests in any `seconds`, per resource.

A slot is held from before a request is sent until `seconds` after its answer was read. Whenever in between the vendor counted
the request, and whether its window is fixed or slides, no window of the vendor's then holds more than `burst` of ours. The
slots live in Redis, on Redis's clock: entries of a sorted set, whose score is the millisecond at which each is free again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import VendorBusy

log = structlog.get_logger(__name__)

_MARGIN = 0.05  # seconds: rounding, and clocks that do not run at quite the same rate
_LEASE = 60.0  # seconds after which a request whose end nobody reported is taken to have ended; longer than any timeout
_PATIENCE = 2.0  # seconds within which Redis answers, or counts as lost
_OFFLINE = 1.0  # seconds for which Redis is left alone after it failed
_LOCAL_SHARE = 10  # without Redis, each process takes this part of the burst and assumes as many others

# KEYS slots, state. ARGV slot, burst, window, lease, generation that the caller knows or '', its clock or ''.
# Returns {1, now, generation} or {0, milliseconds to wait, generation}.
_TAKE = """
local now = tonumber(ARGV[6])
if not now then
    local t = redis.call('TIME')
    now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local state = redis.call('HMGET', KEYS[2], 'generation', 'max', 'window', 'until')
local burst = math.min(tonumber(ARGV[2]), tonumber(state[2]) or math.huge)
local window = math.max(tonumber(ARGV[3]), tonumber(state[3]) or 0)
local lease = tonumber(ARGV[4])
local closed = tonumber(state[4]) or 0
local generation = state[1]
if not generation then
    generation = ARGV[1]
    redis.call('HSET', KEYS[2], 'generation', generation)
end
if ARGV[5] ~= '' and ARGV[5] ~= generation then
    closed = math.max(closed, now + window)
    redis.call('HSET', KEYS[2], 'until', closed)
end
redis.call('PEXPIRE', KEYS[2], 172800000)
if closed > now then
    return {0, closed - now, generation}
end
local held = redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')
if held < burst then
    redis.call('ZADD', KEYS[1], now + lease + window, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lease)
    redis.call('PEXPIRE', KEYS[1], 2 * (lease + window))
    return {1, now, generation}
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', held - burst, 1)
return {0, math.min(first[2] - now, window), generation}
"""

# KEYS as above. ARGV slot, its start, window, max or '', remaining or '', milliseconds to stay closed, clock or ''.
# What the vendor counted beyond every slot that can be in its count was taken by others; it is held like our own.
_SETTLE = """
local now = tonumber(ARGV[7])
if not now then
    local t = redis.call('TIME')
    now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local window = tonumber(ARGV[3])
redis.call('ZADD', KEYS[1], now + window, ARGV[1])
local max, remaining = tonumber(ARGV[4]), tonumber(ARGV[5])
if max then
    redis.call('HSET', KEYS[2], 'max', max, 'window', window)
    if remaining then
        local ours = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[2], '+inf')
        for i = 1, math.min(max - remaining - ours, 1000) do
            redis.call('ZADD', KEYS[1], now + window, ARGV[1] .. ':' .. i)
        end
    end
end
local closed = tonumber(ARGV[6])
if closed > 0 then
    local known = tonumber(redis.call('HGET', KEYS[2], 'until')) or 0
    redis.call('HSET', KEYS[2], 'until', math.max(known, now + closed))
    redis.call('PEXPIRE', KEYS[2], 172800000)
end
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """What an answer said of the vendor's limit; None where it said nothing. `pause`: seconds without any request from now."""

    burst: int | None = None
    remaining: int | None = None
    seconds: float | None = None
    pause: float = 0.0


@dataclass(slots=True)
class Slot:
    """The right to send one request. Set `rate` from its answer before the slot is given back."""

    resource: str
    id: str
    started: int
    shared: bool
    rate: Rate = field(default_factory=Rate)


@dataclass(slots=True)
class _Room:
    """What this process knows of one resource."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    generation: str = ""
    known_until: float = 0.0
    offline: bool = False
    closed_until: float = 0.0
    local: dict[str, float] = field(default_factory=dict)


class Limiter:
    """One vendor's limit, shared through Redis by every process that gives the same `vendor`.

    Without Redis each process takes a tenth of the burst, after waiting out the window that it cannot see. When Redis has lost
    its memory, the first process that remembers otherwise closes the resource for one window.

    `ceiling`: seconds that `slot` may wait; longer waits raise VendorBusy at once. `clock` (seconds) is for tests; without one
    the time is the Redis server's.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        vendor: str,
        burst: int,
        seconds: float,
        ceiling: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._vendor = vendor
        self._burst = burst
        self._window = seconds + _MARGIN
        self._ceiling = ceiling
        self._sleep = sleep
        self._clock = clock
        self._local_clock = clock or time.monotonic
        self._take = redis.register_script(_TAKE)
        self._settle = redis.register_script(_SETTLE)
        self._rooms: dict[str, _Room] = {}
        self._offline_until = 0.0

    @asynccontextmanager
    async def slot(self, resource: str) -> AsyncIterator[Slot]:
        """Hold a slot while a request is made; waits for one in turn.

        Raises VendorBusy with `retry_after` when the wait would be longer than `ceiling`.
        """
        slot = await self.acquire(resource)
        try:
            yield slot
        finally:
            await self.release(slot)

    async def acquire(self, resource: str) -> Slot:
        """Wait for a slot, which `release` must get back. Raises VendorBusy as `slot` does."""
        room = self._rooms.setdefault(resource, _Room())
        queued = room.waiting * self._window / self._burst
        if queued > self._ceiling:
            raise self._busy(queued)
        room.waiting += 1
        try:
            # In turn: one waiter of a process asks, the others queue behind it.
            async with room.turn:
                waited = 0.0
                while not isinstance(answer := await self._ask(resource, room), Slot):
                    if waited + answer > self._ceiling:
                        raise self._busy(answer)
                    await self._sleep(answer)
                    waited += answer
                return answer
        finally:
            room.waiting -= 1

    async def release(self, slot: Slot) -> None:
        """Give the slot back after the answer was read or given up, with what the vendor said of its limit."""
        rate, room = slot.rate, self._rooms[slot.resource]
        if rate.pause:
            room.closed_until = max(room.closed_until, self._local_clock() + rate.pause)
        if not slot.shared:
            room.local[slot.id] = self._local_clock() + self._window
            return
        window = max(self._window, (rate.seconds or 0.0) + _MARGIN)
        args: list[str | int] = [
            slot.id,
            slot.started,
            _milliseconds(window),
            "" if rate.burst is None else rate.burst,
            "" if rate.remaining is None else rate.remaining,
            _milliseconds(rate.pause),
            self._now(),
        ]
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._settle(keys=self._keys(slot.resource), args=args)
        except (RedisError, OSError) as error:
            self._lost(error)

    async def _ask(self, resource: str, room: _Room) -> Slot | float:
        """A slot, or the seconds after which to ask again."""
        if self._local_clock() < self._offline_until:
            return self._ask_locally(resource, room)
        slot = uuid4().hex
        known = room.generation if self._local_clock() < room.known_until else ""
        args: list[str | int] = [slot, self._burst, _milliseconds(self._window), _milliseconds(_LEASE), known, self._now()]
        try:
            async with asyncio.timeout(_PATIENCE):
                free, number, generation = await self._take(keys=self._keys(resource), args=args)
        except (RedisError, OSError) as error:
            self._lost(error)
            return self._ask_locally(resource, room)
        room.offline = False
        room.generation = generation if isinstance(generation, str) else generation.decode()
        if not free:
            return max(1, int(number)) / 1000
        room.known_until = self._local_clock() + self._window + _LEASE
        return Slot(resource, slot, int(number), shared=True)

    def _ask_locally(self, resource: str, room: _Room) -> Slot | float:
        now = self._local_clock()
        if not room.offline:
            room.offline = True
            room.closed_until = max(room.closed_until, now + self._window)
        room.local = {slot: free for slot, free in room.local.items() if free > now}
        wait = room.closed_until - now
        if len(room.local) >= max(1, self._burst // _LOCAL_SHARE):
            wait = max(wait, min(min(room.local.values()) - now, self._window))
        if wait > 0:
            return wait
        slot = Slot(resource, uuid4().hex, 0, shared=False)
        room.local[slot.id] = now + _LEASE + self._window
        # No generation of Redis's: these slots are unknown there, so on its return the resource is closed for a window.
        room.generation, room.known_until = "local", room.local[slot.id]
        return slot

    def _lost(self, error: Exception) -> None:
        self._offline_until = self._local_clock() + _OFFLINE
        log.warning("vendor limits are kept in this process alone", vendor=self._vendor, error=type(error).__name__)

    def _busy(self, wait: float) -> VendorBusy:
        return VendorBusy(f"{self._vendor} allows no further request for {wait:.0f} s", retry_after=wait)

    def _keys(self, resource: str) -> list[str]:
        name = f"limit:{self._vendor}:{{{resource}}}"
        return [f"{name}:slots", f"{name}:state"]

    def _now(self) -> int | str:
        return "" if self._clock is None else int(self._clock() * 1000)


def _milliseconds(seconds: float) -> int:
    return -int(-seconds * 1000 // 1)
