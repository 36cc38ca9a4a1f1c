"""Whoever sends messages dies with one in hand."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db.models.notifications import NotificationEvent
from domain import actor as actors
from domain.notifications.notices import notify
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.notices import LOG, connect_slack, mailed, rule, settled, wish
from tests.factories.people import Person, new_owner
from tests.factories.processes import Programs, programs
from tests.faults.nursery import Nursery


@dataclass
class Desk:
    """Somebody who is told by real clock processes, and the superuser's connection."""

    house: House
    lisa: Person
    programs: Programs
    admin: asyncpg.Connection

    async def tell(self) -> None:
        """Something critical happens."""
        async with self.house.runtime.unit(actors.system(self.lisa.account_id)) as unit:
            await notify(unit, event=NotificationEvent.JOB_FAILED, title="It broke", body="As things do.", path="/jobs")

    async def in_hand(self) -> None:
        """Wait until a message is being sent."""

        async def look() -> bool:
            return bool(await self.admin.fetchval("select exists (select from delivery where state = 'sending')"))

        await eventually(look)

    async def lapse(self) -> None:
        """Let the lease of whoever sends end now."""
        await self.admin.execute("update delivery set next_at = now() where state = 'sending'")

    async def log(self) -> list[dict[str, Any]]:
        """What was sent, newest first."""
        found: list[dict[str, Any]] = (await self.lisa.ask(LOG))["notificationDeliveries"]["nodes"]
        return found


@pytest.fixture
async def desk(house: House, brood: Nursery, tmp_path: Path) -> AsyncIterator[Desk]:
    """Nobody sends yet."""
    admin = await asyncpg.connect(house.settings.database_url.replace("bots@", "postgres@", 1))
    async with programs(house.settings, tmp_path, brood) as started:
        yield Desk(house, await new_owner(house), started, admin)
    await house.mail.clear()
    await admin.close()


async def test_killed_before_the_mail_server_has_it_it_is_sent_by_the_next(desk: Desk) -> None:
    await wish(desk.lisa.client, rule("JOB_FAILED", "EMAIL"))
    await desk.house.mail.order("hang", times=None)
    clock = await desk.programs.clock()
    await desk.tell()
    await desk.in_hand()
    await clock.kill()
    await desk.house.mail.clear()
    await desk.lapse()
    await desk.programs.clock()
    (mail,) = await mailed(desk.house, desk.lisa.email)
    (delivery,) = await settled(desk.lisa.client)
    assert (delivery["state"], delivery["attempts"], mail["copies"]) == ("DELIVERED", 2, 1)


async def test_what_the_mail_server_had_already_comes_again_as_the_same_message(desk: Desk) -> None:
    await wish(desk.lisa.client, rule("JOB_FAILED", "EMAIL"))
    await desk.house.mail.order("swallow")
    clock = await desk.programs.clock()
    await desk.tell()
    await mailed(desk.house, desk.lisa.email)
    await clock.kill()
    await desk.lapse()
    await desk.admin.execute("update delivery set next_at = now() where state = 'queued'")
    await desk.programs.clock()
    first, second = await mailed(desk.house, desk.lisa.email, count=2)
    assert first["message_id"] == second["message_id"]
    assert first["copies"] == 2


async def test_killed_while_slack_hangs_e_mail_takes_over_within_a_minute(desk: Desk) -> None:
    """In earnest: the lease of the one that was killed lapses by itself."""
    await connect_slack(desk.lisa.client, desk.house)
    await wish(desk.lisa.client, rule("JOB_FAILED", "SLACK"))
    desk.house.slack.order("hang", times=None)
    clock = await desk.programs.clock()
    async with asyncio.timeout(60):
        await desk.tell()
        await desk.in_hand()
        await clock.kill()
        await desk.programs.clock()
        desk.house.slack.clear()
        desk.house.slack.order("no_service", times=None)
        (mail,) = await mailed(desk.house, desk.lisa.email, within=60)
    assert mail["copies"] == 1
    by_channel = {each["channel"]: each for each in await desk.log()}
    assert by_channel["SLACK"]["state"] == "FAILED"
    assert by_channel["EMAIL"]["fallbackOf"] == by_channel["SLACK"]["id"]
    desk.house.slack.clear()
