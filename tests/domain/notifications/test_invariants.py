"""Whatever fails and dies: each message is delivered or has failed for a reason, and another channel took over once."""

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.models.notifications import Channel, NotificationEvent
from db.models.tenancy import ActorType
from domain import actor as actors
from domain.actor import Actor, Scope
from domain.notifications import gathering, preferences, slack
from domain.notifications.notices import notify
from domain.notifications.routing import Preferences, Route, Rule, route
from tests.factories.house import House
from tests.factories.notices import HOOK

EVENTS = (NotificationEvent.JOB_COMPLETED, NotificationEvent.JOB_FAILED, NotificationEvent.JOB_PARTIAL)
ROUNDS = 40
rules = st.lists(
    st.builds(
        Rule,
        event=st.sampled_from(EVENTS),
        channels=st.frozensets(st.sampled_from(Channel)),
        critical=st.sampled_from([None, True]),
    ),
    unique_by=lambda rule: rule.event,
).map(tuple)
steps = st.one_of(
    st.tuples(st.just("notify"), st.sampled_from(EVENTS)),
    st.tuples(st.just("notify"), st.sampled_from(EVENTS)),
    st.tuples(st.just("wish"), rules),
    st.tuples(st.just("enable"), st.booleans()),
    st.tuples(st.just("mute"), st.booleans()),
    st.tuples(st.just("mail"), st.sampled_from([None, "temporary", "permanent", "swallow", "disconnect"])),
    st.tuples(st.just("slack"), st.sampled_from([None, "no_service", "service_unavailable", "rate_limited"])),
    st.tuples(st.just("send"), st.booleans()),
)
_numbers = itertools.count()


@dataclass
class Story:
    """One account with one person, what they wanted at each event, and what the world did."""

    house: House
    admin: asyncpg.Connection
    account_id: UUID
    actor: Actor
    email: str
    told: list[Route] = field(default_factory=list)
    wants: Preferences = field(default_factory=Preferences)

    async def play(self, step: str, value: Any) -> None:
        """Do one thing."""
        await getattr(self, f"_{step}")(value)

    async def _notify(self, event: NotificationEvent) -> None:
        way = route(self.wants, event=event, kind=None, critical=False, at=datetime.now(UTC))
        if way is not None:
            self.told.append(way)
        async with self.house.runtime.unit(actors.system(self.account_id)) as unit:
            await notify(unit, event=event, title="It happened", body="As it does.", path="/")

    async def _wish(self, chosen: tuple[Rule, ...]) -> None:
        await self._update(rules=chosen)

    async def _enable(self, enabled: bool) -> None:
        await self._update(enabled=enabled)

    async def _update(self, **change: Any) -> None:
        async with self.house.runtime.unit(self.actor) as unit:
            version = (await preferences.get(unit)).version
            self.wants = (await preferences.update(unit, expected_version=version, **change)).preferences

    async def _mute(self, muted: bool) -> None:
        until = datetime.now(UTC) + timedelta(hours=1) if muted else None
        async with self.house.runtime.unit(self.actor) as unit:
            self.wants = (await preferences.mute(unit, until=until)).preferences

    async def _mail(self, fault: str | None) -> None:
        await self.house.mail.clear()
        if fault is not None:
            await self.house.mail.order(fault, times=None)

    async def _slack(self, fault: str | None) -> None:
        self.house.slack.clear()
        if fault is not None:
            self.house.slack.order(fault, times=None)

    async def _send(self, dies: bool) -> None:
        """Send all that is queued, as if it were due; or die with it."""
        await self.admin.execute("update delivery set next_at = now() - interval '1 ms' where account_id = $1", self.account_id)
        outbox = self.house.runtime.outbox
        claimed = [*await outbox.claim(Channel.EMAIL, 50), *await outbox.claim(Channel.SLACK, 50)]
        if not dies:
            await asyncio.gather(*map(outbox.send, claimed))

    async def end(self) -> None:
        """Send until nothing is on its way, while hours pass."""
        for _ in range(ROUNDS):
            await self._send(dies=False)
            open_ones = "select count(*) from delivery where account_id = $1 and state in ('queued', 'sending')"
            if not await self.admin.fetchval(open_ones, self.account_id):
                return
            later = "update delivery set created_at = created_at - interval '1 hour' where account_id = $1"
            await self.admin.execute(later, self.account_id)
        raise AssertionError("something is still on its way")

    async def check(self) -> None:
        """What must hold now."""
        notifications = await self.admin.fetch("select * from notification where account_id = $1", self.account_id)
        deliveries = await self.admin.fetch("select * from delivery where account_id = $1", self.account_id)
        own = [row for row in notifications if row["user_id"] and row["event"] != "integration_disconnected"]
        wanted = [way for way in self.told if way.channels != {Channel.SLACK}]
        assert sum(row["count"] for row in own) == len(wanted)
        assert sum(row["count"] for row in own if row["muted"]) == sum(way.muted for way in wanted)
        assert sum(row["count"] for row in own if row["critical"]) == sum(way.critical for way in wanted)
        for row in own:
            outside = [each for each in deliveries if each["notification_id"] == row["id"] and not each["fallback_of"]]
            assert len(outside) == ("email" in row["channels"])
            assert not (row["muted"] and outside)
        in_slack = [row for row in notifications if row["user_id"] is None]
        assert sum(row["count"] for row in in_slack) == sum(Channel.SLACK in way.channels for way in self.told)
        inbox = {mail["message_id"]: mail["copies"] for mail in self.house.inbox(self.email)}
        for each in deliveries:
            assert each["state"] in {"delivered", "failed"}
            assert each["state"] == "delivered" or each["error"]
            followers = [other for other in deliveries if other["fallback_of"] == each["id"]]
            assert len(followers) <= 1
            assert not (each["fallback_of"] and followers)
            if (each["state"], each["channel"]) == ("delivered", "email"):
                assert 1 <= inbox[f"<{each['id']}@mail.example>"] <= each["attempts"]
            self._was_taken_over(each, followers, notifications)

    def _was_taken_over(
        self, each: asyncpg.Record, followers: list[asyncpg.Record], notifications: list[asyncpg.Record]
    ) -> None:
        if each["state"] != "failed" or each["fallback_of"]:
            return
        of = next(row for row in notifications if row["id"] == each["notification_id"])
        if each["channel"] == "email":
            assert of["in_app"]
        else:
            by_mail = any(
                set(row["notices"]) & set(of["notices"]) and "email" in row["channels"]
                for row in notifications
                if row["user_id"]
            )
            assert followers or by_mail


async def _begin(house: House, admin: asyncpg.Connection) -> Story:
    account, user = await house.account(f"Story {next(_numbers)}")
    await house.mail.clear()
    house.slack.clear()
    owner = Actor(ActorType.USER, account.id, user.name, frozenset(Scope), id=user.id, role=user.role)
    await slack.connect(house.runtime.outbox, owner, url=house.sandbox_url + HOOK)
    return Story(house, admin, account.id, owner, user.email)


async def test_every_message_ends_and_each_failure_is_made_good_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "QUIET", timedelta(seconds=30))  # it gathers until it is sent
    loop = asyncio.get_running_loop()
    admin = await asyncpg.connect(house.settings.database_url.replace("bots@", "postgres@", 1))

    async def story(wanted: list[tuple[str, Any]]) -> None:
        told = await _begin(house, admin)
        for step, value in wanted:
            await told.play(step, value)
        await told.end()
        await told.check()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(steps, max_size=14))
    def check(wanted: list[tuple[str, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(story(wanted), loop).result(60)

    try:
        await asyncio.to_thread(check)
    finally:
        await house.mail.clear()
        await admin.close()
