"""Hints over the real Valkey: bounded, and whatever happens to Redis a listener hears of the gap and goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from db.base import new_id
from db.embedded.valkey import EmbeddedValkey
from domain import events as events_module
from domain.events import Change, Events, Hint, Mailbox
from tests.factories.engine import eventually
from tests.faults.proxy import redis_road

ACCOUNT = new_id()


@pytest.fixture
async def events(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Events]:
    """A process's events."""
    monkeypatch.setattr(events_module, "POLL", 0.05)
    events = Events(redis_url)
    await events.open()
    yield events
    await events.close()


async def is_deserted(events: Events) -> bool:
    """Whether the library has let go of every channel."""
    return not events._broadcast._subscribers


async def next_of(mailbox: Mailbox) -> Hint:
    async with asyncio.timeout(20):
        return await mailbox.get()


async def until_told(mailbox: Mailbox, change: Change) -> bool:
    """Read until `change` is told; whether a gap came before or with it."""
    gap = False
    while True:
        hint = await next_of(mailbox)
        gap |= hint.gap
        if change in hint.changes:
            return gap


def a_change(subject: UUID | None = None) -> Change:
    return Change("job", subject or new_id())


async def test_a_mailbox_gathers_what_came_since() -> None:
    mailbox, one, other = Mailbox(), a_change(), a_change()
    for change in (one, other, one):
        mailbox.put(change)
    assert await mailbox.get() == Hint(frozenset({one, other}))
    mailbox.put(other)
    assert await mailbox.get() == Hint(frozenset({other}))


async def test_a_mailbox_that_nobody_empties_becomes_a_gap_and_stays_small() -> None:
    mailbox = Mailbox()
    for _ in range(10_000):
        mailbox.put(a_change())
        assert len(mailbox._changes) <= events_module._MAILBOX
    hint = await mailbox.get()
    assert hint.gap
    last = a_change()
    mailbox.put(last)
    assert await mailbox.get() == Hint(frozenset({last}))


async def test_a_gap_alone_is_told() -> None:
    mailbox = Mailbox()
    mailbox.put(None)
    assert await mailbox.get() == Hint(frozenset(), gap=True)


async def test_listeners_hear_of_what_they_listen_to(events: Events) -> None:
    subject = new_id()
    mine, another = a_change(subject), a_change()
    async with events.listen(ACCOUNT) as all_of_it, events.listen(ACCOUNT, subject) as one, events.listen(new_id()) as foreign:
        await events.publish(ACCOUNT, [another, mine, mine])
        heard = (await next_of(all_of_it)).changes
        while len(heard) < 2:
            heard |= (await next_of(all_of_it)).changes
        assert heard == {mine, another}
        assert await next_of(one) == Hint(frozenset({mine}))
        assert not foreign._changes


async def test_another_process_hears_it_too(events: Events, redis_url: str) -> None:
    elsewhere = Events(redis_url)
    await elsewhere.open()
    async with events.listen(ACCOUNT) as mailbox:
        change = a_change()
        await elsewhere.publish(ACCOUNT, [change])
        assert not await until_told(mailbox, change)
    await elsewhere.close()


async def test_a_message_that_nobody_can_read_is_a_gap_and_the_listening_goes_on(events: Events) -> None:
    async with events.listen(ACCOUNT) as mailbox:
        for unreadable in (b'[["connection", "None"]]', b"{", b"[1]"):
            await events._broadcast.publish(events_module._channel(ACCOUNT), unreadable)
            assert (await next_of(mailbox)).gap
        change = a_change()
        await events.publish(ACCOUNT, [change])
        assert not await until_told(mailbox, change)


async def test_once_listening_is_entered_nothing_is_missed(events: Events) -> None:
    for _ in range(50):
        async with events.listen(ACCOUNT) as mailbox:
            change = a_change()
            await events.publish(ACCOUNT, [change])
            assert not await until_told(mailbox, change)


async def test_two_first_listeners_at_once_both_hear(events: Events) -> None:
    async def hear(barrier: asyncio.Barrier, change: Change) -> None:
        async with events.listen(ACCOUNT) as mailbox:
            await barrier.wait()
            await until_told(mailbox, change)

    for _ in range(10):
        barrier, change = asyncio.Barrier(3), a_change()
        listeners = [asyncio.create_task(hear(barrier, change)) for _ in range(2)]
        await barrier.wait()
        await events.publish(ACCOUNT, [change])
        async with asyncio.timeout(20):
            await asyncio.gather(*listeners)


async def test_who_comes_as_the_last_one_leaves_hears(events: Events) -> None:
    for _ in range(20):
        first = events.listen(ACCOUNT)
        await first.__aenter__()
        leaving = asyncio.create_task(first.__aexit__(None, None, None))
        async with events.listen(ACCOUNT) as mailbox:
            await leaving
            change = a_change()
            await events.publish(ACCOUNT, [change])
            await until_told(mailbox, change)


async def test_when_nobody_listens_nothing_is_left(events: Events) -> None:
    async with events.listen(ACCOUNT), events.listen(ACCOUNT, new_id()):
        pass
    assert not events._mailboxes
    assert not events._pumps
    await eventually(lambda: is_deserted(events))
    assert not events._backend._channels


@pytest.mark.parametrize("empty", [True, False])
async def test_after_redis_restarts_a_gap_is_told_and_it_goes_on(
    events: Events, valkey: EmbeddedValkey, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: when it is lost, and when it is back, since what was told in between nobody heard."""
    monkeypatch.setattr(events_module, "POLL", 1.0)
    async with events.listen(ACCOUNT) as one, events.listen(ACCOUNT, new_id()) as other:
        change = a_change()
        await events.publish(ACCOUNT, [change])
        await until_told(one, change)
        await valkey.restart(empty=empty)
        for mailbox in (one, other, one, other):
            assert (await next_of(mailbox)).gap
        await publish_until_heard(events, one)


async def publish_until_heard(events: Events, mailbox: Mailbox) -> None:
    """Redis is back, but the subscription may take another moment."""
    async with asyncio.timeout(20):
        while True:
            change = a_change()
            await events.publish(ACCOUNT, [change])
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await until_told(mailbox, change)
                    return


async def test_while_redis_is_away_gaps_come_again_and_again(events: Events, valkey: EmbeddedValkey) -> None:
    """So that listeners read, and are up to date within POLL even then."""
    async with events.listen(ACCOUNT) as mailbox:
        await valkey.kill()
        try:
            for _ in range(3):
                assert (await next_of(mailbox)).gap
        finally:
            await valkey.start()
        await publish_until_heard(events, mailbox)


async def test_redis_may_be_away_at_the_start(redis_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "POLL", 0.05)
    await valkey.kill()
    try:
        events = Events(redis_url)
        await events.open()
        listening = events.listen(ACCOUNT)
        async with asyncio.timeout(20):
            mailbox = await listening.__aenter__()
        assert (await next_of(mailbox)).gap
    finally:
        await valkey.start()
    await publish_until_heard(events, mailbox)
    await listening.__aexit__(None, None, None)
    await events.close()


async def test_who_gives_up_while_redis_does_not_answer_leaves_nothing_behind(events: Events, valkey: EmbeddedValkey) -> None:
    async with events.listen(new_id()):  # the connection stands
        await valkey_pause(valkey)
        waiting = asyncio.create_task(_enter(events))
        await asyncio.sleep(0)  # it adds its mailbox, and waits
        assert events._mailboxes.get(ACCOUNT)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    assert not events._mailboxes.get(ACCOUNT)
    async with events.listen(ACCOUNT) as mailbox:
        await publish_until_heard(events, mailbox)


async def _enter(events: Events) -> None:
    async with events.listen(ACCOUNT):
        raise AssertionError


async def valkey_pause(valkey: EmbeddedValkey) -> None:
    """Let Valkey answer nobody for a quarter of a second."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.client_pause(250)


async def test_a_connection_whose_other_end_vanished_is_noticed_and_replaced(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No end of the road hears that it was cut; what is sent just waits."""
    monkeypatch.setattr(events_module, "POLL", 0.05)
    monkeypatch.setattr(events_module, "_SILENCE", 0.1)
    async with redis_road(redis_url, tmp_path_factory.mktemp("r") / "s") as road:
        events = Events(road.url)
        await events.open()
        async with events.listen(ACCOUNT) as mailbox:
            change = a_change()
            await events.publish(ACCOUNT, [change])
            assert not await until_told(mailbox, change)
            road.cut()
            for _ in range(3):
                assert (await next_of(mailbox)).gap
            road.mend()
            await publish_until_heard(events, mailbox)
        await events.close()


async def test_silence_is_no_gap_while_redis_answers(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_SILENCE", 0.02)
    asked = 0
    ping = PubSub.ping

    def counted(pubsub: PubSub, *args: object) -> object:
        nonlocal asked
        asked += 1
        return ping(pubsub, *args)

    async def asked_often() -> bool:
        return asked > 3

    monkeypatch.setattr(PubSub, "ping", counted)
    async with events.listen(ACCOUNT) as mailbox:
        await eventually(asked_often)
        change = a_change()
        await events.publish(ACCOUNT, [change])
        assert not await until_told(mailbox, change)


async def test_listeners_read_again_once_in_a_while_whatever_happens(events: Events) -> None:
    async with events.listen(ACCOUNT) as mailbox:
        change = a_change()
        await events.publish(ACCOUNT, [change])
        assert not await until_told(mailbox, change)
        events._backend._gap_at = 0  # a minute later
        await events.publish(ACCOUNT, [a_change()])
        while not (await next_of(mailbox)).gap:
            pass
