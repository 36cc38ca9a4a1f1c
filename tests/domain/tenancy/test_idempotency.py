"""The same mutation asked for twice is carried out once."""

import asyncio
from contextlib import suppress
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
