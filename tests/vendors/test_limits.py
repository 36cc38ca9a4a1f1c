"""The limiter against a real Valkey; time is simulated where a test is about time."""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from db.embedded.valkey import EmbeddedValkey
from domain.errors import VendorBusy
from domain.vendors.limits import Limiter, Rate, Slot, _Room

SECONDS = 10.0


@dataclass
class Clock:
    """A clock that only `sleep` moves."""

    now: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


def unreachable(folder: Path) -> Redis:
    return Redis(unix_socket_path=str(folder / "nobody"), retry=Retry(NoBackoff(), 0))


def limiter_of(redis: Redis, clock: Clock, *, burst: int = 10, ceiling: float = 30.0) -> Limiter:
    return Limiter(redis, vendor="test", burst=burst, seconds=SECONDS, ceiling=ceiling, sleep=clock.sleep, clock=clock)


async def spend(limiter: Limiter, times: int, *, resource: str = "one") -> None:
    for _ in range(times):
        async with limiter.slot(resource):
            pass


def most_in_a_window(arrivals: list[float], seconds: float) -> int:
    """The most arrivals that any window of this length holds, its end excluded."""
    arrivals = sorted(arrivals)
    return max(sum(start <= other < start + seconds for other in arrivals) for start in arrivals)


@dataclass(frozen=True)
class Request:
    client: int
    asked: float
    travels: float
    answered: float
    lost: bool


REQUESTS = st.lists(
    st.builds(
        Request,
        client=st.integers(0, 3),
        asked=st.floats(0, 25),
        travels=st.floats(0, 12),
        answered=st.floats(0, 12),
        lost=st.integers(0, 9).map(lambda number: number == 0),
    ),
    min_size=1,
    max_size=40,
)


@given(requests=REQUESTS, burst=st.integers(1, 6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_window_of_the_vendor_ever_holds_more_than_the_burst(
    redis: Redis, requests: list[Request], burst: int
) -> None:
    # Several processes; each request reaches the vendor some time after it was allowed and is answered some time after that.
    clock, resource = Clock(), uuid4().hex
    clients = [limiter_of(redis, clock, burst=burst) for _ in range(4)]
    began, numbers = clock.now, itertools.count()
    arrivals: list[float] = []
    todo: list[tuple[float, int, Request | tuple[Limiter, Slot]]] = [(began + r.asked, next(numbers), r) for r in requests]
    heapq.heapify(todo)
    while todo:
        clock.now, _, step = heapq.heappop(todo)
        if isinstance(step, tuple):
            limiter, slot = step
            await limiter.release(slot)
            continue
        limiter = clients[step.client]
        answer = await limiter._ask(resource, limiter._rooms.setdefault(resource, _Room()))
        if not isinstance(answer, Slot):
            assert answer > 0
            heapq.heappush(todo, (clock.now + answer, next(numbers), step))
            continue
        arrivals.append(clock.now + step.travels)
        if not step.lost:
            heapq.heappush(todo, (clock.now + step.travels + step.answered, next(numbers), (limiter, answer)))
    assert len(arrivals) == len(requests)
    assert most_in_a_window(arrivals, SECONDS) <= burst


async def test_several_processes_at_once_share_one_limit(redis_url: str) -> None:
    seconds, burst, arrivals = 0.3, 8, []
    clients = [Redis.from_url(redis_url) for _ in range(4)]
    limiters = [Limiter(client, vendor="test", burst=burst, seconds=seconds) for client in clients]

    async def request(limiter: Limiter) -> None:
        async with limiter.slot("one"):
            arrivals.append(time.monotonic())

    began = time.monotonic()
    await asyncio.gather(*(request(limiter) for limiter in limiters for _ in range(10)))
    for client in clients:
        await client.aclose()
    assert len(arrivals) == 40
    assert most_in_a_window(arrivals, seconds) <= burst
    # As fast as the limit allows, give or take: 40 requests are five bursts, so four windows.
    assert max(arrivals) - began < 8 * seconds


async def test_the_whole_burst_goes_at_once_and_the_next_after_the_window(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    await spend(limiter, 10)
    assert clock.slept == []
    await spend(limiter, 1)
    assert sum(clock.slept) == pytest.approx(SECONDS, abs=0.2)


async def test_room_costs_one_round_trip(redis: Redis) -> None:
    limiter = limiter_of(redis, Clock())
    await spend(limiter, 1)
    before = await commands(redis)
    await limiter.acquire("one")
    assert await commands(redis) - before == 1


async def commands(redis: Redis) -> int:
    calls = await redis.info("commandstats")
    return int(calls.get("cmdstat_evalsha", {"calls": 0})["calls"]) + int(calls.get("cmdstat_eval", {"calls": 0})["calls"])


async def test_resources_do_not_share_a_limit(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    await spend(limiter, 10)
    await spend(limiter, 10, resource="two")
    assert clock.slept == []


async def test_waiters_of_a_process_are_served_in_the_order_they_came(redis: Redis) -> None:
    clock, served = Clock(), []
    limiter = limiter_of(redis, clock, burst=1, ceiling=1000)

    async def request(number: int) -> None:
        async with limiter.slot("one"):
            served.append(number)

    await asyncio.gather(*(request(number) for number in range(6)))
    assert served == list(range(6))


async def test_a_wait_beyond_the_ceiling_is_refused_with_the_time_to_come_back(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock, burst=1, ceiling=5)
    await spend(limiter, 1)
    with pytest.raises(VendorBusy) as refused:
        await limiter.acquire("one")
    assert refused.value.retry_after == pytest.approx(SECONDS, abs=0.2)
    assert clock.slept == []


async def test_a_queue_longer_than_the_ceiling_is_refused_at_once(redis: Redis) -> None:
    limiter = Limiter(redis, vendor="test", burst=1, seconds=SECONDS, ceiling=25)
    await spend(limiter, 1)
    waiting = [asyncio.create_task(limiter.acquire("one")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(VendorBusy):
        await limiter.acquire("one")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_requests_of_others_are_learnt_from_what_remains(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    async with limiter.slot("one") as slot:
        slot.rate = Rate(burst=10, remaining=2, seconds=SECONDS)
    await spend(limiter, 2)
    assert clock.slept == []
    await spend(limiter, 1)
    assert sum(clock.slept) == pytest.approx(SECONDS, abs=0.2)


async def test_own_requests_are_not_taken_for_those_of_others(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    held = [await limiter.acquire("one") for _ in range(8)]
    for count, slot in enumerate(held, start=1):
        slot.rate = Rate(burst=10, remaining=10 - count, seconds=SECONDS)
        await limiter.release(slot)
    await spend(limiter, 2)
    assert clock.slept == []


async def test_a_lower_limit_of_the_vendor_is_learnt_by_all(redis: Redis) -> None:
    clock = Clock()
    async with limiter_of(redis, clock).slot("one") as slot:
        slot.rate = Rate(burst=3, remaining=2, seconds=SECONDS)
    await spend(limiter_of(redis, clock), 2)
    assert clock.slept == []
    await spend(limiter_of(redis, clock), 1)
    assert clock.slept


async def test_a_pause_asked_for_by_the_vendor_holds_everybody(redis: Redis) -> None:
    clock = Clock()
    async with limiter_of(redis, clock).slot("one") as slot:
        slot.rate = Rate(pause=7.0)
    await spend(limiter_of(redis, clock), 1)
    assert sum(clock.slept) == pytest.approx(7.0, abs=0.1)


async def test_an_exhausted_day_is_not_waited_for(redis: Redis) -> None:
    limiter = limiter_of(redis, Clock())
    async with limiter.slot("one") as slot:
        slot.rate = Rate(pause=3600.0)
    with pytest.raises(VendorBusy) as refused:
        await limiter.acquire("one")
    assert refused.value.retry_after == pytest.approx(3600, abs=1)


async def test_a_slot_whose_holder_died_comes_back(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock, burst=1, ceiling=100)
    await limiter.acquire("one")
    await spend(limiter_of(redis, clock, burst=1, ceiling=100), 1)
    assert 60 <= sum(clock.slept) <= 75


async def test_an_emptied_redis_closes_the_resource_for_a_window(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    await spend(limiter, 10)
    await redis.flushall()
    await spend(limiter, 1)
    assert sum(clock.slept) == pytest.approx(SECONDS, abs=0.2)
    await spend(limiter, 9)
    assert sum(clock.slept) == pytest.approx(SECONDS, abs=0.2)


async def test_a_redis_that_restarts_empty_costs_a_window_and_no_more(redis: Redis, valkey: EmbeddedValkey) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    await spend(limiter, 10)
    await valkey.restart(empty=True)
    left = clock.now
    await spend(limiter, 10)
    assert SECONDS <= clock.now - left < 3 * SECONDS


async def test_an_emptied_redis_is_no_loss_to_who_was_idle(redis: Redis) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock)
    await spend(limiter, 10)
    await redis.flushall()
    clock.now += 3600
    await spend(limiter, 10)
    assert clock.slept == []


async def test_without_redis_a_process_keeps_to_a_tenth(tmp_path: Path) -> None:
    clock, arrivals = Clock(), []
    async with unreachable(tmp_path) as redis:
        limiter = limiter_of(redis, clock, burst=30)
        for _ in range(7):
            async with limiter.slot("one"):
                arrivals.append(clock.now)
    assert arrivals[0] - 1_000_000 >= SECONDS, "what the others used before Redis went is waited out"
    assert most_in_a_window(arrivals, SECONDS) == 3


async def test_slots_given_without_redis_are_waited_out_when_it_returns(redis: Redis, tmp_path: Path) -> None:
    clock = Clock()
    limiter = limiter_of(redis, clock, burst=30)
    await spend(limiter, 1)
    reached = limiter._take.registered_client
    async with unreachable(tmp_path) as nobody:
        limiter._take.registered_client = nobody
        await spend(limiter, 3)
    limiter._take.registered_client = reached
    left, clock.now = clock.now, clock.now + 2
    await spend(limiter, 1)
    assert clock.now - left >= SECONDS
