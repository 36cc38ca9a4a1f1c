"""The same mutation asked for twice is carried out once."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from db.base import new_id
from domain import actor as actors
from domain.errors import Invalid
from domain.tenancy import idempotency
from domain.tenancy.idempotency import MAX_KEY, KeyReused
from tests.factories.engine import Engine, eventually

GIVEN: dict[str, Any] = {"location": new_id(), "tags": ["a", "b"], "policy": None}


async def call(
    engine: Engine, account_id: UUID, *, key: str | None = "key", operation: str = "start", given: dict[str, Any] | None = None
) -> UUID:
    """A mutation that makes something; what it made, or what its first call made."""
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        made = await idempotency.replay(unit, key=key, operation=operation, given=GIVEN if given is None else given)
        if made is None:
            made = new_id()
            await idempotency.remember(unit, key=key, subject_id=made)
        return made


async def test_the_same_key_and_input_lead_to_the_same(engine: Engine) -> None:
    account_id = await engine.account()
    first = await call(engine, account_id)
    assert await call(engine, account_id) == first
    assert await call(engine, account_id, given=dict(reversed(GIVEN.items()))) == first
    assert await call(engine, account_id, key="another") != first
    assert await call(engine, await engine.account()) != first


async def test_without_a_key_every_call_counts(engine: Engine) -> None:
    account_id = await engine.account()
    assert await call(engine, account_id, key=None) != await call(engine, account_id, key=None)


@pytest.mark.parametrize(
    "other",
    [
        {"given": GIVEN | {"tags": ["b", "a"]}},
        {"given": GIVEN | {"policy": "ghl_wins"}},
        {"given": GIVEN | {"location": new_id()}},
        {"given": {}},
        {"operation": "stop"},
    ],
)
async def test_a_key_with_another_input_or_operation_is_refused(engine: Engine, other: dict[str, Any]) -> None:
    account_id = await engine.account()
    first = await call(engine, account_id)
    with pytest.raises(KeyReused) as raised:
        await call(engine, account_id, **other)
    assert (raised.value.code, raised.value.field) == ("API-008", ("idempotencyKey",))
    assert await call(engine, account_id) == first


async def test_twins_that_come_at_once_are_one(engine: Engine) -> None:
    account_id = await engine.account()
    assert len(set(await asyncio.gather(*(call(engine, account_id) for _ in range(6))))) == 1


async def test_a_twin_waits_for_the_first_and_takes_its_place_when_that_fails(engine: Engine) -> None:
    account_id = await engine.account()
    with suppress(ZeroDivisionError):
        async with engine.runtime.unit(actors.system(account_id)) as unit:
            assert await idempotency.replay(unit, key="key", operation="start", given=GIVEN) is None
            twin = asyncio.create_task(call(engine, account_id))
            await eventually(lambda: engine.sql("select 1 from pg_locks where not granted"))
            raise ZeroDivisionError
    made = await twin
    assert await call(engine, account_id) == made


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1)])
async def test_keys_have_bounds(engine: Engine, key: str) -> None:
    with pytest.raises(Invalid, match="1 to 200"):
        await call(engine, await engine.account(), key=key)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Filter:
    colours: tuple[Colour, ...] = (Colour.RED,)
    since: datetime | None = None


ONE_ID = UUID("018f0000-0000-7000-8000-000000000001")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LETTERS = "abcdefghij"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ONE_ID, str(ONE_ID)),
        (Colour.RED, "red"),
        (NOON, NOON.astimezone(timezone(timedelta(hours=2)))),
        (set(LETTERS), frozenset(reversed(LETTERS))),
        ({ONE_ID, Colour.RED, 1}, {1, "red", str(ONE_ID)}),
        (["a", 1], ("a", 1)),
        (1.0, 1),
        (Decimal("2.50"), 2.5),
        ({"b": [NOON], "a": {ONE_ID}}, {"a": {ONE_ID}, "b": [NOON]}),
        (Filter(), {"colours": ["red"], "since": None}),
        ({Colour.RED: 1}, {"red": 1}),
    ],
)
def test_what_is_the_same_counts_as_the_same_however_it_is_written(one: object, other: object) -> None:
    assert idempotency.digest_of({"given": one}) == idempotency.digest_of({"given": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", 1), (True, "true"), ([1, 2], [2, 1]), (1.5, 2), ({"a": None}, {}), (NOON, NOON + timedelta(seconds=1)), ("", " ")],
)
def test_what_is_different_is_told_apart(one: object, other: object) -> None:
    assert idempotency.digest_of({"given": one}) != idempotency.digest_of({"given": other})


def test_an_argument_that_a_later_release_adds_does_not_matter_until_it_is_given() -> None:
    assert idempotency.digest_of({"job": ONE_ID}) == idempotency.digest_of({"job": ONE_ID, "isNew": None})
    assert idempotency.digest_of({"job": ONE_ID}) != idempotency.digest_of({"job": ONE_ID, "isNew": False})


def test_an_object_that_has_no_value_of_its_own_is_a_mistake() -> None:
    """Its text has its address, which is another one at the next call."""
    with pytest.raises(TypeError, match="object cannot be part"):
        idempotency.digest_of({"given": [object()]})


def test_the_form_does_not_change_unnoticed() -> None:
    """If this fails, raise the version: retries under way while a release is rolled out must not be refused."""
    given = {"id": ONE_ID, "at": NOON, "tags": {"b", "a"}, "wanted": Filter(), "count": 3, "note": None}
    assert idempotency.digest_of(given).hex() == "025ae0a1a0aed4f9372125ed034abbedc80b0511bbe3503fcf75a2072e03c836d4"


async def test_what_an_earlier_release_kept_cannot_be_compared_and_counts_as_the_same(engine: Engine) -> None:
    account_id = await engine.account()
    first = await call(engine, account_id)
    for kept in (bytes(32), b"\x02" * 32, b"\x01" + bytes(32)):
        await engine.sql("update idempotency_key set input_hash = $1 where account_id = $2", kept, account_id)
        assert await call(engine, account_id) == first
    await engine.sql("update idempotency_key set input_hash = $1 where account_id = $2", b"\x02" + bytes(32), account_id)
    with pytest.raises(KeyReused):
        await call(engine, account_id)
