"""A thousand failures are no thousand messages, and one account's messages do not hold up another's."""

from datetime import UTC, datetime, timedelta

import pytest

from db.models.notifications import Channel, NotificationEvent
from domain import actor as actors
from domain.notifications import gathering, mail
from domain.notifications.notices import notify
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.webhooks import database

ALERT = NotificationEvent.JOB_FAILED


async def tell(house: House, lisa: Person, event: NotificationEvent = ALERT) -> None:
    async with house.runtime.unit(actors.system(lisa.account_id)) as unit:
        await notify(unit, event=event, title="It failed", body="As it does.", path="/")


async def told(house: House, lisa: Person) -> list[tuple[int, bool]]:
    """How much each message tells, and whether it is due."""
    async with database(house) as connection:
        rows = await connection.fetch(
            """select count, delivery.next_at <= $2 as due from delivery join notification as n on n.id = notification_id
            where delivery.account_id = $1 and channel = 'email' order by n.created_at""",
            lisa.account_id,
            datetime.now(UTC),
        )
    return [(row["count"], row["due"]) for row in rows]


async def test_the_first_alert_goes_at_once_and_those_that_follow_are_gathered(house: House) -> None:
    lisa = await new_owner(house)
    await tell(house, lisa)
    assert await told(house, lisa) == [(1, True)]
    for _ in range(20):
        await tell(house, lisa)
    await tell(house, lisa, NotificationEvent.INTEGRATION_DISCONNECTED)  # another kind of alert is a first one itself
    assert sorted(await told(house, lisa)) == [(1, True), (1, True), (20, False)]


async def test_after_a_lull_the_next_alert_goes_at_once_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lisa = await new_owner(house)
    monkeypatch.setattr(gathering, "LONGEST", timedelta(0))
    for _ in range(3):
        await tell(house, lisa)
    assert await told(house, lisa) == [(1, True)] * 3


async def test_the_messages_of_one_account_do_not_hold_up_another_s(house: House) -> None:
    busy, quiet = await new_owner(house), await new_owner(house)
    for person, count in ((busy, 30), (quiet, 2)):
        async with house.runtime.unit(actors.system(person.account_id)) as unit:
            to = [f"customer-{number}@x.example" for number in range(count)]
            await mail.send(unit, key="k", to=to, subject="The report", text="Here it is.")
    first = [each.account_id for each in await house.runtime.outbox.claim(Channel.EMAIL, 4)]
    assert (first.count(busy.account_id), first.count(quiet.account_id)) == (2, 2)
    second = [each.account_id for each in await house.runtime.outbox.claim(Channel.EMAIL, 4)]
    assert second.count(busy.account_id) == 4
