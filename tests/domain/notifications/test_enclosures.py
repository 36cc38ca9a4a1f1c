"""E-mails with files, on a store that takes its time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from db.models.notifications import Channel
from domain import actor as actors
from domain.files import store
from domain.files.store import FileStore
from domain.notifications import mail, outbox
from domain.notifications.outbox import Outbox
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.webhooks import database


class SlowStore(FileStore):
    """Has what another store has, but gives nothing before `go` is set."""

    def __init__(self, fast: FileStore) -> None:
        self._fast = fast
        self.go = asyncio.Event()
        self.asked = self.reading = self.most = 0

    async def open(self, key: str) -> AsyncIterator[bytes]:
        self.asked += 1
        self.reading += 1
        self.most = max(self.most, self.reading)
        await self.go.wait()
        await asyncio.sleep(0)
        found = await self._fast.open(key)
        self.reading -= 1
        return found


async def chunks() -> AsyncIterator[bytes]:
    yield b"name,count\n"


async def queue(house: House, lisa: Person, *to: str) -> None:
    """An e-mail with a file to each address."""
    async with house.runtime.unit(actors.system(lisa.account_id)) as unit:
        file = await store.keep(
            unit, house.runtime.files, name="report.csv", media_type="text/csv", chunks=chunks(), kept=timedelta(days=1)
        )
        await mail.send(unit, key="k", to=to, subject="The report", text="Attached.", files=[file.id])


def slow(house: House) -> tuple[Outbox, SlowStore]:
    found = SlowStore(house.runtime.files)
    return replace(house.runtime.outbox, files=found), found


async def asked(files: SlowStore) -> None:
    async def look() -> bool:
        return files.asked > 0

    await eventually(look)


async def test_who_has_lost_the_lease_while_reading_sends_nothing(house: House) -> None:
    lisa = await new_owner(house)
    await queue(house, lisa, "ann@customer.example")
    late, files = slow(house)
    (claimed,) = await late.claim(Channel.EMAIL, 8)
    sending = asyncio.create_task(late.send(claimed))
    await asked(files)
    async with database(house) as connection:
        await connection.execute("update delivery set next_at = now() - interval '1 ms'")
    (again,) = await house.runtime.outbox.claim(Channel.EMAIL, 8)
    await house.runtime.outbox.send(again)
    files.go.set()
    await sending
    (ann,) = house.inbox("ann@customer.example")
    assert ann["copies"] == 1
    assert [file["text"] for file in ann["attachments"]] == ["name,count\n"]


async def test_reading_holds_no_transaction_and_a_lease_that_is_long_enough(house: House) -> None:
    lisa = await new_owner(house)
    await queue(house, lisa, "ann@customer.example")
    late, files = slow(house)
    (claimed,) = await late.claim(Channel.EMAIL, 8)
    sending = asyncio.create_task(late.send(claimed))
    await asked(files)
    async with database(house) as connection:
        held = "select query from pg_stat_activity where state = 'idle in transaction' and datname = current_database()"
        assert await connection.fetch(held) == []
        lease = await connection.fetchval("select next_at - now() from delivery")
    assert lease > timedelta(seconds=outbox._READING)
    files.go.set()
    await sending
    assert len(house.inbox("ann@customer.example")) == 1


async def test_few_are_in_memory_at_once_and_all_of_them_arrive(house: House) -> None:
    lisa = await new_owner(house)
    to = [f"customer-{number}@customer.example" for number in range(5)]
    await queue(house, lisa, *to)
    late, files = slow(house)
    sending = [asyncio.create_task(late.send(claimed)) for claimed in await late.claim(Channel.EMAIL, 8)]
    await asked(files)
    files.go.set()
    await asyncio.gather(*sending)
    assert len(house.inbox()) == len(to)
    assert 1 <= files.most <= outbox._ENCLOSING


async def test_a_store_that_hangs_is_a_failure_that_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lisa = await new_owner(house)
    await queue(house, lisa, "ann@customer.example")
    late, _ = slow(house)
    (claimed,) = await late.claim(Channel.EMAIL, 8)
    monkeypatch.setattr(outbox, "_READING", 0.05)
    await late.send(claimed)
    async with database(house) as connection:
        row = await connection.fetchrow("select state, error, next_at > now() as later from delivery")
    assert (row["state"], row["later"]) == ("queued", True)
    assert "enclosed" in row["error"]
