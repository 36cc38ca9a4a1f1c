"""Telling the people of an account that something happened."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import Job
from db.models.notifications import Channel, NotificationEvent
from domain.events import Announcement, Change
from domain.notifications import people
from domain.notifications.gathering import Happened, gather, write
from domain.unit import Unit

NOUN = "notification"  # hints at one carry the reader's id


async def notify(
    unit: Unit,
    *,
    event: NotificationEvent,
    title: str,
    body: str,
    critical: bool = False,
    job_id: UUID | None = None,
    path: str,
    not_to: UUID | None = None,
) -> None:
    """Tell all people of the unit's account but `not_to`, each as they want to be told of such an event.

    `path` is the front end's, such as /jobs/job_01jd; messages link to SPA_URL, or PUBLIC_URL where that is not set, plus it.
    `critical` is told even to those who have muted notifications. Messages go out after the commit.
    """
    job = None
    if job_id is not None:
        found = await unit.session.execute(sa.select(Job.kind, Job.state).where(Job.id == job_id))
        job = found.one_or_none()
    happened = Happened(
        account_id=unit.account_id,
        event=event,
        title=title,
        body=body,
        path=path,
        at=datetime.now(UTC),
        critical=critical,
        not_to=not_to,
        job_id=job_id,
        job_kind=None if job is None else job.kind,
        job_state=None if job is None else job.state.value,
    )
    for told in await tell(unit.session, [happened]):
        unit.changes.append(told.change)


async def tell(session: AsyncSession, happened: Sequence[Happened]) -> list[Announcement]:
    """Write down what is to be told to whom; returns the hints for those who watch. Takes either kind of session."""
    if not happened:
        return []
    accounts = {each.account_id for each in happened}
    known = await people.of_accounts(session, accounts, since=min(each.at for each in happened))
    routed = [(each, people.routes(each, known.get(each.account_id, []))) for each in happened]
    gathered = gather(routed)
    await write(session, [each for each, routes in routed if routes], gathered)
    shown = {(each.account_id, each.user_id) for each in gathered if Channel.IN_APP in each.channels}
    return [Announcement(account_id, Change(NOUN, user_id)) for account_id, user_id in shown if user_id is not None]
