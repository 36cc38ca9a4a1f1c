"""Sending what is queued: claimed with a lease, handed to Slack or the mail server outside any transaction, then recorded.

Whoever claims dies with what it sends: once the lease lapses it is claimed again. An e-mail then carries the same Message-ID.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
_UNSENT: Final = sa.text("state IN ('queued', 'sending')")  # as in the index
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

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        """Lease up to `limit` deliveries of any account that are due, those first that have been so for longest."""
        due = (
            sa.select(Delivery.id)
            .where(Delivery.channel == channel, _UNSENT, Delivery.next_at <= sa.func.now())
            .order_by(Delivery.next_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        leased = (
            sa.update(Delivery)
            .where(Delivery.id.in_(due))
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

    async def _hand_over(self, parcel: EmailParcel | SlackParcel) -> None:
        if isinstance(parcel, SlackParcel):
            await self.slack.post(parcel.url, parcel.message)
        elif self.mail is not None:
            await self.mail.send(parcel.message, to=parcel.to)

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
        mine = sa.update(Delivery).where(
            Delivery.id == claimed.id, Delivery.attempts == claimed.attempts, Delivery.state == DeliveryState.SENDING
        )
        values = {**values, **({"ended_at": sa.func.clock_timestamp()} if ended else {})}
        await unit.session.execute(mine.values(values), execution_options={"synchronize_session": False})


async def _read(unit: Unit, claimed: Claimed) -> tuple[Delivery, Notification | None] | None:
    """The delivery, locked, if it is still this process's, and its notification."""
    mine = sa.select(Delivery).where(
        Delivery.id == claimed.id, Delivery.attempts == claimed.attempts, Delivery.state == DeliveryState.SENDING
    )
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
