"""What a subscription to one's own notifications follows, without a gap: how many are unread, what came, what was read.

As with the events of jobs, the position is (transaction, number), and nothing is read beyond what was committed before every
transaction that still runs.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa

from db.models.notifications import Notification
from db.session import Database
from domain.actor import Actor
from domain.events import Events, Mailbox
from domain.jobs.updates import UpdateKind
from domain.notifications import inbox
from domain.notifications.preferences import person
from domain.unit import Unit

SNAPSHOT_SIZE = 20
_BATCH = 500
_LAST_NUMBER = 2**63 - 1
_BEHIND_PAUSE = 0.05
_HORIZON = sa.cast(sa.cast(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()), sa.Text), sa.BigInteger)

Cursor = tuple[int, int]


@dataclass(frozen=True, slots=True)
class NotificationsUpdate:
    """`received`: new ones, and those to which something was added. `read`: those that were marked. `unread`: of them all."""

    kind: UpdateKind
    position: Cursor
    unread: int
    received: list[Notification]
    read: list[UUID] = field(default_factory=list)


@dataclass(slots=True)
class NotificationsFeed:
    """The notifications of the person who asks. Raises NotAPerson."""

    database: Database
    events: Events
    actor: Actor
    _mailbox: Mailbox | None = None

    # Told to each person alone: a run of it is shared by one person's devices only.
    personal = True

    @property
    def key(self) -> Hashable:
        """Equal for one person's devices."""
        return ("notifications", self.actor.account_id, self.actor.id)

    async def start(self, after: Cursor | None) -> tuple[Cursor, list[NotificationsUpdate]]:
        """The newest unread ones, or everything after the cursor."""
        if after is not None:
            return await self.since(after)
        async with self.database.account(self.actor.account_id) as session:
            unit = Unit(session, self.actor)
            mine = inbox.mine(unit)
            position = (await session.execute(sa.select(_HORIZON))).scalar_one() - 1, _LAST_NUMBER
            newest = sa.select(Notification).where(mine, Notification.read_at.is_(None)).order_by(Notification.id.desc())
            rows = list((await session.scalars(newest.limit(SNAPSHOT_SIZE))).all())
            unread = await inbox.unread_count(unit)
        return position, [NotificationsUpdate(UpdateKind.SNAPSHOT, position, unread, rows)]

    async def since(self, position: Cursor) -> tuple[Cursor, list[NotificationsUpdate]]:
        """What changed after the cursor, each once."""
        async with self.database.account(self.actor.account_id) as session:
            unit = Unit(session, self.actor)
            changed = sa.tuple_(Notification.xid, Notification.number) > position
            settled = sa.select(Notification).where(inbox.mine(unit), changed, Notification.xid < _HORIZON)
            unsettled = sa.select(sa.exists().where(inbox.mine(unit), Notification.xid >= _HORIZON))
            held_up = bool((await session.execute(unsettled)).scalar_one())
            ordered = settled.order_by(Notification.xid, Notification.number).limit(_BATCH)
            rows = list((await session.scalars(ordered)).all())
            if held_up or len(rows) == _BATCH:
                self._look_again()
            if not rows:
                return position, []
            unread = await inbox.unread_count(unit)
        last = rows[-1].xid, rows[-1].number
        received = [row for row in rows if row.read_at is None]
        read = [row.id for row in rows if row.read_at is not None]
        return last, [NotificationsUpdate(UpdateKind.CHANGED, last, unread, received, read)]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Mailbox]:
        """Hints at the person's notifications, and a second look for as long as older transactions run."""
        async with self.events.listen(self.actor.account_id, person(self.actor)) as mailbox:
            self._mailbox = mailbox
            yield mailbox

    def _look_again(self) -> None:
        """What transactions that have ended wrote is held up by an older one that still runs: nobody will hint at it."""
        if self._mailbox is not None:
            asyncio.get_running_loop().call_later(_BEHIND_PAUSE, self._mailbox.put, None)
