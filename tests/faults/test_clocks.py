"""A clock that dies while it fires a schedule, or while it sends a message; another one runs beside it."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from db.models.notifications import Delivery, DeliveryState, NotificationEvent
from domain import actor as actors
from domain.notifications.notices import notify
from domain.schedules import commands
from domain.schedules.commands import Options, Timing
from domain.schedules.recurrence import EveryMinutes
from domain.workflows import commands as workflows
from domain.workflows.steps import Wait
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.notices import rule, wish
from tests.factories.people import new_owner
from tests.factories.processes import programs
from tests.faults.barriers import barriers
from tests.faults.nursery import OUTBOX_LEASE, Nursery
from tests.faults.site import LEASE, Site, measured

OUTBOX = 20 if LEASE >= 30 else 3.0  # seconds; the bound shrinks with it


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """Leases that are over soon."""
    return {"lease_seconds": LEASE, "log_level": "info"}


@pytest.mark.parametrize("where", ["fire:before", "fire:after", "commit:before"])
async def test_an_instant_whose_clock_dies_while_it_fires_is_fired_once_by_another(site: Site, where: str) -> None:
    account_id = await site.engine.account()
    async with site.engine.runtime.unit(actors.system(account_id)) as unit:
        workflow = await workflows.create(unit, name="W", description=None, steps=[Wait(60)])
        timing = Timing(EveryMinutes(24 * 60), "UTC")
        await commands.create(unit, workflow_id=workflow.id, name="S", timing=timing, options=Options())
    for _ in range(2):
        await site.programs.clock()
    site.barriers.arm(where)
    await site.engine.sql("update schedule set next_at = date_trunc('day', now(), 'UTC')")
    firing = await site.barriers.reached(where)
    site.barriers.disarm(where)
    assert await site.engine.sql("select 1 from schedule_fire") == []
    with measured(f"clock process, {where}", bound=15):
        await site.kill(firing)
        await eventually(lambda: site.engine.sql("select 1 from schedule_fire"))
    (row,) = await site.engine.sql("select count(*), count(distinct nominal_at) as instants from schedule_fire")
    assert tuple(row) == (1, 1)
    (jobs,) = await site.engine.sql("select count(*) from job where account_id = $1", account_id)
    assert jobs["count"] == 1
    assert await site.engine.sql("select 1 from schedule where next_at <= now()") == []


@pytest.mark.parametrize("where", ["send:before", "send:after"])
async def test_a_message_whose_sender_dies_is_delivered_all_the_same(
    house: House, brood: Nursery, tmp_path: Path, where: str
) -> None:
    lisa = await new_owner(house)
    await wish(lisa.client, rule("JOB_FAILED", "EMAIL"))
    environment = {OUTBOX_LEASE: str(OUTBOX)}
    async with (
        barriers(tmp_path) as stops,
        programs(house.settings, tmp_path, brood, stops.environment | environment) as running,
    ):
        for _ in range(2):
            await running.clock()
        stops.arm(where)
        async with house.runtime.unit(actors.system(lisa.account_id)) as unit:
            failed = NotificationEvent.JOB_FAILED
            await notify(unit, event=failed, title="It failed", body="As it does.", critical=True, path="/")
        sending = await stops.reached(where)
        stops.disarm(where)
        assert len(house.inbox(lisa.email)) == (where == "send:after")

        async def ended() -> list[DeliveryState]:
            deliveries = await states(house, lisa.account_id)
            return deliveries if set(deliveries) <= {DeliveryState.DELIVERED, DeliveryState.FAILED} else []

        with measured(f"notifier, {where}", bound=60 * OUTBOX / 20):
            await running.of(sending.pid).kill()
            assert await eventually(ended, within=60) == [DeliveryState.DELIVERED]
    letters = house.inbox(lisa.email)
    # Whoever dies between the server's yes and writing it down has sent it; the second copy says that it is the same letter.
    assert [letter["copies"] for letter in letters] == ([1] if where == "send:before" else [2, 2])
    assert len({letter["message_id"] for letter in letters}) == 1


async def states(house: House, account_id: UUID) -> list[DeliveryState]:
    """Of the account's messages outside."""
    async with house.runtime.unit(actors.system(account_id)) as unit:
        return list((await unit.session.scalars(sa.select(Delivery.state))).all())
