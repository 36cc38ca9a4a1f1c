"""Subscriptions that many watch."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest
import structlog

from graph import feeds
from graph.execution import Executor, Request
from graph.live import Live
from tests.graph.toy import ToyContext, World, schema

SAID = (
    "subscription($after: Int, $only: String) { said(afterPosition: $after, only: $only) { position text user firstLoaded } }"
)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """A hub; at the end nothing of it may be left."""
    hub = Live(Executor(schema), seat_size=8)
    yield hub
    async with asyncio.timeout(5):
        while not hub.idle:  # noqa: ASYNC110 - it has no event for it, and a test needs none
            await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


class Watcher:
    """One subscriber, who takes answers when told to."""

    def __init__(self, answers: AsyncGenerator[bytes, None]) -> None:
        self.answers = answers

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            answer: dict[str, Any] = orjson.loads(await anext(self.answers))
        return answer

    async def text(self) -> str:
        answer = await self.next()
        assert "errors" not in answer, answer
        text: str = answer["data"]["said"]["text"]
        return text

    async def texts(self, count: int) -> list[str]:
        return [await self.text() for _ in range(count)]

    async def ended(self) -> bool:
        async with asyncio.timeout(5):
            return await anext(self.answers, None) is None


@asynccontextmanager
async def watching(
    live: Live, world: World, text: str = SAID, *, user: str = "ann", **variables: Any
) -> AsyncIterator[Watcher]:
    context = ToyContext(world, user=user)
    operation = await live.executor.prepare(Request(text, variables=variables), context)
    answers = live.stream(operation, context)
    try:
        yield Watcher(answers)
    finally:
        await answers.aclose()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - any condition, so no event
            await asyncio.sleep(0)


async def test_the_snapshot_comes_first_and_then_what_is_new(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    topic.publish("two")
    async with watching(live, world) as ann:
        assert await ann.text() == "two"
        topic.publish("three")
        assert await ann.text() == "three"
        topic.publish("four")
        topic.publish("five")
        assert await ann.texts(2) == ["four", "five"]


async def test_a_subscriber_resumes_after_its_position(live: Live, world: World) -> None:
    topic = world.topic()
    for number in range(5):
        topic.publish(str(number))
    async with watching(live, world, after=2) as ann:
        assert await ann.texts(3) == ["2", "3", "4"]
        topic.publish("5")
        assert await ann.text() == "5"


async def test_equal_subscriptions_are_executed_once_wherever_each_resumes(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as first, watching(live, world, after=0) as second, watching(live, world) as third:
        watchers = [first, second, third]
        assert [await watcher.text() for watcher in watchers] == ["one"] * 3
        before, reads = world.executions, topic.reads
        topic.publish("two")
        answers = [await anext(watcher.answers) for watcher in watchers]
        assert answers[0] is answers[1] is answers[2]
        assert world.executions == before + 1
        assert topic.reads == reads + 1


async def test_other_scopes_and_variables_are_executed_apart_but_read_together(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with (
        watching(live, world) as ann,
        watching(live, world, user="bob") as bob,
        watching(live, world, only="two") as picky,
    ):
        assert (await ann.next())["data"]["said"]["user"] == "ann"
        assert (await bob.next())["data"]["said"]["user"] == "bob"
        waiting = asyncio.create_task(picky.text())
        await until(lambda: len(live._runs) == 3 and all(run.ready.is_set() for run in live._runs.values()))
        reads = topic.reads
        topic.publish("two")
        assert (await ann.next())["data"]["said"]["user"] == "ann"
        assert (await bob.next())["data"]["said"]["user"] == "bob"
        assert await waiting == "two"
        assert topic.reads == reads + 1
        assert len(topic.listeners) == 1


async def test_loaders_of_one_event_are_not_seen_by_the_next(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann:
        assert (await ann.next())["data"]["said"]["firstLoaded"] == "one"
        for text in ("two", "three"):
            topic.publish(text)
            assert (await ann.next())["data"]["said"]["firstLoaded"] == text


async def test_nothing_is_missed_or_repeated_however_joining_and_publishing_interleave(live: Live, world: World) -> None:
    topic = world.topic()

    async def watch(number: int) -> list[int]:
        for _ in range(number % 7):
            await asyncio.sleep(0)
        seen: list[int] = []
        async with watching(live, world, after=0) as watcher:
            while len(seen) < 60:
                seen.append((await watcher.next())["data"]["said"]["position"])
        return seen

    async def publish() -> None:
        for number in range(60):
            topic.publish(str(number))
            for _ in range(number % 5):
                await asyncio.sleep(0)

    results = await asyncio.gather(*(watch(number) for number in range(40)), publish())
    assert results[:-1] == [list(range(1, 61))] * 40


@pytest.mark.parametrize("gates", ["gates_before", "gates_after"])
async def test_an_item_that_comes_during_the_first_read_is_told_once(live: Live, world: World, gates: str) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as first, watching(live, world, after=0) as second:
        assert await first.text() == "one"
        gate = asyncio.Event()
        getattr(topic, gates).append(gate)
        joining = asyncio.create_task(second.texts(2))
        await until(lambda: not getattr(topic, gates))
        topic.publish("two")
        assert await first.text() == "two"
        gate.set()
        assert await joining == ["one", "two"]
        topic.publish("three")
        assert [await first.text(), await second.text()] == ["three", "three"]


async def test_a_first_read_that_is_older_than_where_the_reader_began_is_made_up_for(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world, after=0) as slow, watching(live, world) as quick:
        gate = asyncio.Event()
        topic.gates_after.append(gate)
        joining = asyncio.create_task(slow.texts(2))
        await until(lambda: not topic.gates_after)
        topic.publish("two")
        assert await quick.text() == "two"
        gate.set()
        assert await joining == ["one", "two"]
        topic.publish("three")
        assert [await slow.text(), await quick.text()] == ["three", "three"]


async def test_hints_that_come_during_a_read_are_one_read(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann:
        assert await ann.text() == "one"
        reads = topic.reads
        for number in range(6):
            topic.publish(str(number))
        assert await ann.texts(6) == list("012345")
        assert topic.reads - reads <= 2


async def test_a_slow_subscriber_starts_again_from_where_it_was_and_holds_up_nobody(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("0")
    async with watching(live, world) as slow, watching(live, world) as fast:
        assert [await slow.text(), await fast.text()] == ["0", "0"]
        for number in range(1, 51):
            topic.publish(str(number))
            assert await fast.text() == str(number)
        (seat,) = (seat for run in live._runs.values() for seat in run._seats if seat.lost)
        assert not seat._answers
        assert await slow.texts(50) == [str(number) for number in range(1, 51)]
        topic.publish("last")
        assert [await slow.text(), await fast.text()] == ["last", "last"]


async def test_a_run_that_falls_behind_the_feed_reads_it_again(
    live: Live, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "INBOX_SIZE", 3)
    topic = world.topic()
    topic.publish("0")
    async with watching(live, world) as ann:
        assert await ann.text() == "0"
        for number in range(1, 8):
            topic.publish(str(number), hint=False)
        topic.hint()
        assert await ann.texts(7) == [str(number) for number in range(1, 8)]
        topic.publish("8")
        assert await ann.text() == "8"


async def test_failing_reads_are_tried_again(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann:
        assert await ann.text() == "one"
        with structlog.testing.capture_logs() as logs:
            topic.broken = ConnectionError("the database restarts")
            topic.publish("two")
            await until(lambda: logs)
            topic.broken = None
            assert await ann.text() == "two"
        assert {entry["event"] for entry in logs} == {"feed.read_failed"}


async def test_after_a_lost_connection_what_was_not_hinted_at_is_read(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann:
        assert await ann.text() == "one"
        topic.publish("two", hint=False)
        topic.drop_listeners()
        assert await ann.text() == "two"


async def test_the_last_item_ends_it_for_all(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann, watching(live, world) as bob:
        assert [await ann.text(), await bob.text()] == ["one", "one"]
        topic.publish("done", last=True)
        for watcher in (ann, bob):
            assert await watcher.text() == "done"
            assert await watcher.ended()
    async with watching(live, world, after=2) as late:
        assert await late.text() == "done"
        assert await late.ended()


@pytest.mark.parametrize("text", ["explode", "explode after"])
async def test_a_failure_in_the_shared_run_reaches_all_and_ends_it(live: Live, world: World, text: str) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann, watching(live, world) as bob:
        assert [await ann.text(), await bob.text()] == ["one", "one"]
        with structlog.testing.capture_logs() as logs:
            topic.publish(text)
            for watcher in (ann, bob):
                if text == "explode after":
                    assert await watcher.text() == text
                (error,) = (await watcher.next())["errors"]
                assert error["message"] == "Something went wrong on our side."
                assert await watcher.ended()
        assert len(logs) == 1


async def test_a_failure_before_following_is_the_subscribers_own(live: Live, world: World) -> None:
    async with watching(live, world, 'subscription { said(topic: "forbidden") { text } }') as ann:
        answer = await ann.next()
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"] == {"code": "API-002", "field": ["topic"]}
        assert await ann.ended()
    assert not live._runs


async def test_ordinary_generators_run_for_each_subscriber(live: Live, world: World) -> None:
    async with watching(live, world, "subscription { count(to: 2) }") as ann:
        assert await ann.next() == {"data": {"count": 0}}
        assert await ann.next() == {"data": {"count": 1}}
        assert await ann.ended()


async def test_when_the_last_subscriber_leaves_all_is_released(live: Live, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with watching(live, world) as ann:
        assert await ann.text() == "one"
        async with watching(live, world) as bob:
            assert await bob.text() == "one"
        assert topic.listeners
        topic.publish("two")
        assert await ann.text() == "two"
    await until(lambda: live.idle)
    assert not topic.listeners
    # Those that the watchers made themselves are closed by the doors, which close one for each request.
    await until(lambda: world.opened - world.closed == 2)
    async with watching(live, world) as again:
        assert await again.text() == "two"


async def test_closing_the_hub_ends_every_stream(live: Live, world: World) -> None:
    world.topic().publish("one")
    async with watching(live, world) as ann:
        assert await ann.text() == "one"
        await live.close()
        assert await ann.ended()


class Colleague(ToyContext):
    """One of many who may see the same; who they are is forgotten where that must not matter."""

    @property
    def scope(self) -> str:
        return "colleagues"

    def for_feed(self, *, personal: bool = False) -> "Colleague":
        return Colleague(self.world, user=self.user if personal else "nobody")


async def test_what_is_told_to_each_person_alone_is_shared_by_their_devices_only(live: Live, world: World) -> None:
    world.topic().publish("old")
    async with AsyncExitStack() as stack:
        watchers = []
        for user in ("ann", "ann", "bob"):
            context = Colleague(world, user=user)
            operation = await live.executor.prepare(Request("subscription { whispered }"), context)
            watchers.append(Watcher(await stack.enter_async_context(aclosing(live.stream(operation, context)))))
        for text in ("old", "new"):
            if text == "new":
                world.topic().publish(text)
            heard = [(await watcher.next())["data"]["whispered"] for watcher in watchers]
            assert heard == [f"ann, {text}", f"ann, {text}", f"bob, {text}"]
