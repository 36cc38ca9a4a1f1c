"""Sending what is queued: claimed with a lease, handed to Slack or the mail server outside any transaction, then recorded.

Whoever claims dies with what it sends: once the lease lapses it is claimed again. An e-mail then carries the same Message-ID.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
import structlog

from db.models.notifications import (
    Channel,
    Delivery,
    DeliveryState,
    Notification,
    NotificationEvent,
    SlackConnection,
    SlackStatus,
)
from db.session import Database
from domain import actor as actors
from domain.actor import Actor
from domain.errors import VendorDown, VendorFailed
from domain.files.store import FileStore
from domain.notifications import fallback, parcels
from domain.notifications.notices import notify
from domain.notifications.parcels import EmailParcel, SlackParcel
from domain.notifications.policy import after_failure
from domain.tenancy.vault import Vault
from domain.unit import Unit
from domain.vendors.mail.client import MailServer
from domain.vendors.slack.client import Slack, WebhookGone

LEASE: Final = timedelta(seconds=20)  # longer than any attempt takes
READING_LEASE: Final = timedelta(seconds=90)  # longer than reading takes what is enclosed
_READING: Final = 60.0  # seconds
_ENCLOSING: Final = 2  # e-mails with files at once; each may have 15 MB of them in memory, several times over
_UNSENT: Final = sa.text("delivery.state IN ('queued', 'sending')")  # as in the index
_REASON_LENGTH: Final = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is this process's to send, until its lease lapses; `attempts` is the fence."""

    id: UUID
    account_id: UUID
    channel: Channel
    attempts: int


@dataclass(frozen=True, slots=True)
class Outbox:
    """What it takes to send. `site` is what paths of the front end are added to; without `mail` no e-mail goes out."""

    database: Database
    open_unit: Callable[[Actor], AbstractAsyncContextManager[Unit]]
    vault: Vault
    files: FileStore
    slack: Slack
    mail: MailServer | None
    mail_from: str
    site: str
    _enclosing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_ENCLOSING))

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        """Lease up to `limit` deliveries that are due: of each account in turn, those first that have been so for longest."""
        due = _due(channel, limit)
        mine = sa.select(due.c.id).order_by(due.c.turn, due.c.next_at).limit(limit)
        locked = sa.select(Delivery.id).where(Delivery.id.in_(mine), *_is_due(channel)).with_for_update(skip_locked=True)
        leased = (
            sa.update(Delivery)
            .where(Delivery.id.in_(locked))
            .values(state=DeliveryState.SENDING, attempts=Delivery.attempts + 1, next_at=sa.func.clock_timestamp() + LEASE)
            .returning(Delivery.id, Delivery.account_id, Delivery.channel, Delivery.attempts)
        )
        async with self.database.system_across_accounts() as session:
            rows = await session.execute(leased, execution_options={"synchronize_session": False})
            return [Claimed(row.id, row.account_id, row.channel, row.attempts) for row in rows]

    async def send(self, claimed: Claimed) -> None:
        """Send one, and record what came of it."""
        parcel: EmailParcel | SlackParcel | None = None
        failure: VendorFailed | None = None
        try:
            async with self.open_unit(actors.system(claimed.account_id)) as unit:
                parcel = await parcels.pack(unit, self, delivery_id=claimed.id, attempts=claimed.attempts)
            if parcel is None:  # the lease lapsed, and somebody else has it
                return
            if isinstance(parcel, EmailParcel) and parcel.enclosed:
                if not await self._send_with_files(claimed, parcel):
                    return
            else:
                await self._hand_over(parcel)
        except VendorFailed as error:
            failure = error
        except Exception:
            log.exception("delivery.failed", delivery_id=str(claimed.id))
            failure = VendorDown("A fault of ours; it is logged.")
        async with self.open_unit(actors.system(claimed.account_id)) as unit:
            if failure is None:
                await self._record(unit, claimed, {"state": DeliveryState.DELIVERED, "error": None})
            else:
                await self._record_failure(unit, claimed, failure)
                if isinstance(failure, WebhookGone) and isinstance(parcel, SlackParcel):
                    await _disconnect(unit, version=parcel.connection_version, reason=failure.message)

    async def _send_with_files(self, claimed: Claimed, parcel: EmailParcel) -> bool:
        """False where it is somebody else's by now: however slow the store is, nobody hands over what another one has."""
        if not await self._renew(claimed, READING_LEASE):
            return False
        async with self._enclosing:
            if not await self._renew(claimed, READING_LEASE):
                return False
            try:
                async with asyncio.timeout(_READING):
                    message = await parcels.write(self.files, parcel)
            except TimeoutError:
                raise VendorDown("The files that are enclosed could not be read in time.") from None
            if not await self._renew(claimed, LEASE):
                return False
            await self._hand_over(parcel, message)
            return True

    async def _renew(self, claimed: Claimed, lease: timedelta) -> bool:
        """Whether the delivery is still this process's; then it is for so long again."""
        mine = sa.update(Delivery).where(*_mine(claimed)).values(next_at=sa.func.clock_timestamp() + lease)
        async with self.open_unit(actors.system(claimed.account_id)) as unit:
            found = await unit.session.execute(mine.returning(Delivery.id), execution_options={"synchronize_session": False})
            return found.one_or_none() is not None

    async def _hand_over(self, parcel: EmailParcel | SlackParcel, message: EmailMessage | None = None) -> None:
        if isinstance(parcel, SlackParcel):
            await self.slack.post(parcel.url, parcel.message)
        elif self.mail is not None:
            whole = await parcels.write(self.files, parcel) if message is None else message
            await self.mail.send(whole, to=parcel.to)

    async def _record_failure(self, unit: Unit, claimed: Claimed, failure: VendorFailed) -> None:
        row = await _read(unit, claimed)
        if row is None:
            return
        delivery, notification = row
        follows = after_failure(
            delivery.channel,
            failure,
            attempts=claimed.attempts,
            age=datetime.now(UTC) - delivery.created_at,
            fell_back=delivery.fell_back_at is not None,
            has_fallback=fallback.exists(delivery, notification),
        )
        values: dict[str, Any] = {"error": failure.message[:_REASON_LENGTH]}
        if follows.delay is None:
            values["state"] = DeliveryState.FAILED
        else:
            values |= {
                "state": DeliveryState.QUEUED,
                "next_at": sa.func.clock_timestamp() + timedelta(seconds=follows.delay),
            }
        if follows.falls_back and notification is not None:
            values["fell_back_at"] = sa.func.clock_timestamp()
            await fallback.take_over(unit, delivery, notification)
        log.info(
            "delivery.not_sent",
            delivery_id=str(claimed.id),
            channel=claimed.channel.value,
            attempts=claimed.attempts,
            error=failure.message,
            delay=follows.delay,
            falls_back=follows.falls_back,
        )
        await self._record(unit, claimed, values)

    async def _record(self, unit: Unit, claimed: Claimed, values: Mapping[str, Any]) -> None:
        ended = values["state"] in {DeliveryState.DELIVERED, DeliveryState.FAILED}
        mine = sa.update(Delivery).where(*_mine(claimed))
        values = {**values, **({"ended_at": sa.func.clock_timestamp()} if ended else {})}
        await unit.session.execute(mine.values(values), execution_options={"synchronize_session": False})


def _mine(claimed: Claimed) -> tuple[sa.ColumnElement[bool], ...]:
    """Whether a delivery is still this process's."""
    return Delivery.id == claimed.id, Delivery.attempts == claimed.attempts, Delivery.state == DeliveryState.SENDING


def _is_due(channel: Channel) -> "tuple[sa.ColumnElement[bool] | sa.TextClause, ...]":
    return Delivery.channel == channel, _UNSENT, Delivery.next_at <= sa.func.now()


def _due(channel: Channel, limit: int) -> sa.Subquery:
    """Up to `limit` of each account, and their turn: the messages of one that has thousands do not hold up all others'."""

    def next_account(*beyond: sa.ColumnElement[bool]) -> Any:
        unsent = sa.select(Delivery.account_id).where(Delivery.channel == channel, _UNSENT, *beyond)
        return unsent.order_by(Delivery.account_id).limit(1).correlate_except(Delivery).scalar_subquery()

    # By hopping through the index from account to account, however much is queued for each.
    hops = sa.select(next_account().label("account_id")).cte("senders", recursive=True)
    further = sa.select(next_account(Delivery.account_id > hops.c.account_id)).where(hops.c.account_id.is_not(None))
    accounts = hops.union_all(further)
    first = (
        sa.select(Delivery.id, Delivery.next_at)
        .where(Delivery.account_id == accounts.c.account_id, *_is_due(channel))
        .order_by(Delivery.next_at)
        .limit(limit)
        .correlate(accounts)
        .lateral("first")
    )
    turn = sa.func.row_number().over(partition_by=accounts.c.account_id, order_by=first.c.next_at)
    return sa.select(first.c.id, first.c.next_at, turn.label("turn")).select_from(accounts).join(first, sa.true()).subquery()


async def _read(unit: Unit, claimed: Claimed) -> tuple[Delivery, Notification | None] | None:
    """The delivery, locked, if it is still this process's, and its notification."""
    mine = sa.select(Delivery).where(*_mine(claimed))
    delivery = (await unit.session.scalars(mine.with_for_update())).one_or_none()
    if delivery is None:
        return None
    if delivery.notification_id is None:
        return delivery, None
    of = sa.select(Notification).where(Notification.id == delivery.notification_id)
    return delivery, (await unit.session.scalars(of)).one()


async def _disconnect(unit: Unit, *, version: int, reason: str) -> None:
    """Slack takes no more for this URL: say so, once, unless it was connected anew meanwhile."""
    gone = (
        sa.update(SlackConnection)
        .where(SlackConnection.version == version, SlackConnection.status == SlackStatus.CONNECTED)
        .values(
            status=SlackStatus.DISCONNECTED,
            reason=reason,
            webhook=None,
            version=SlackConnection.version + 1,
            disconnected_at=sa.func.now(),
        )
        .returning(SlackConnection.account_id)
    )
    if (await unit.session.execute(gone)).one_or_none() is None:
        return
    unit.audit("slack.disconnect", subject_type="slack_connection", subject_id=None, reason=reason)
    await notify(
        unit,
        event=NotificationEvent.INTEGRATION_DISCONNECTED,
        title="Slack was disconnected",
        body=f"{reason}. What goes to Slack is sent by e-mail until it is connected again.",
        path="/settings/integrations/slack",
    )
