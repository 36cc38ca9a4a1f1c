"""A delivery made ready to be handed over: the address, and the message in the form that its vendor takes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.files import File
from db.models.notifications import Channel, Delivery, DeliveryState, Notice, Notification, SlackConnection, SlackStatus
from db.models.tenancy import User
from domain.errors import NotFound, VendorRefused
from domain.files import store as files
from domain.files.store import FileStore
from domain.notifications import letters
from domain.notifications.letters import Letter
from domain.tenancy.vault import Vault
from domain.unit import Unit
from domain.vendors.mail.client import MailServer
from domain.vendors.slack.client import WebhookGone

SLACK_PURPOSE = "slack.webhook"
_ATTACHED = 15 << 20  # bytes; many mail servers refuse a message of more than 20 MB, and attachments grow by a third


class Desk(Protocol):
    """What packing takes of an `Outbox`."""

    @property
    def vault(self) -> Vault:
        """Where addresses are kept."""
        ...

    @property
    def mail(self) -> MailServer | None:
        """None where no mail server is set."""
        ...

    @property
    def mail_from(self) -> str:
        """The sender."""
        ...

    @property
    def site(self) -> str:
        """What links begin with."""
        ...


@dataclass(frozen=True, slots=True)
class EmailParcel:
    """An e-mail to one address. `write` makes its message; `enclosed` are the files, None for one that is gone."""

    to: str
    headers: EmailMessage
    letter: Letter
    enclosed: Sequence[File | None] = ()


@dataclass(frozen=True, slots=True)
class SlackParcel:
    """A message to the account's Slack channel, as it was connected at `connection_version`."""

    url: str
    message: Mapping[str, Any]
    connection_version: int


async def pack(unit: Unit, desk: Desk, *, delivery_id: UUID, attempts: int) -> EmailParcel | SlackParcel | None:
    """Make a claimed delivery ready; None where it is somebody else's by now.

    Nothing is added to its notification any more. Raises VendorRefused and WebhookGone where there is nobody to send it to.
    """
    mine = sa.select(Delivery).where(
        Delivery.id == delivery_id, Delivery.attempts == attempts, Delivery.state == DeliveryState.SENDING
    )
    delivery = (await unit.session.scalars(mine)).one_or_none()
    if delivery is None:
        return None
    if delivery.notification_id is None:
        return await _own(unit, desk, delivery)
    notification, notices = await _closed(unit, delivery.notification_id)
    if delivery.channel is Channel.SLACK:
        return await _slack(unit, desk, letters.slack(notification, notices, site=desk.site))
    address = await _address(unit, delivery.user_id)
    return _email(desk, delivery, address, letters.email(notification, notices, site=desk.site))


async def _closed(unit: Unit, notification_id: UUID) -> tuple[Notification, Sequence[Notice]]:
    """The notification, to which nothing is added any more, and the notices that it lists, in their order."""
    closed = sa.update(Notification).where(Notification.id == notification_id).values(gathering=None)
    notification = (await unit.session.scalars(closed.returning(Notification))).one()
    return notification, await notices_in_order(unit, notification.notices)


async def notices_in_order(unit: Unit, ids: Sequence[UUID]) -> list[Notice]:
    """Notices of the account, without those that are gone."""
    found = {notice.id: notice for notice in await unit.session.scalars(sa.select(Notice).where(any_of(Notice.id, ids)))}
    return [found[notice_id] for notice_id in ids if notice_id in found]


async def _slack(unit: Unit, desk: Desk, message: Mapping[str, Any]) -> SlackParcel:
    connection = (await unit.session.scalars(sa.select(SlackConnection))).one_or_none()
    if connection is None or connection.status is not SlackStatus.CONNECTED or connection.webhook is None:
        raise WebhookGone("Slack is not connected.")
    url = await desk.vault.unseal(unit, connection.webhook, purpose=SLACK_PURPOSE)
    return SlackParcel(url, message, connection.version)


async def _address(unit: Unit, user_id: UUID | None) -> str:
    query = sa.select(User.email).where(User.id == user_id, User.disabled_at.is_(None))
    address = (await unit.session.execute(query)).scalar_one_or_none()
    if address is None:
        raise VendorRefused("This person does not belong to the account any more.")
    return address


async def write(store: FileStore, parcel: EmailParcel) -> EmailMessage:
    """The whole message. It reads the enclosed files, however long that takes, and needs no transaction."""
    if not parcel.enclosed:
        return _written(parcel, [], [])
    attached, missing = await _attachments(store, parcel.enclosed)
    return await asyncio.to_thread(_written, parcel, attached, missing)  # megabytes are encoded


def _written(parcel: EmailParcel, attached: Sequence[tuple[str, str, bytes]], missing: Sequence[str]) -> EmailMessage:
    message, letter = parcel.headers, parcel.letter
    message.set_content("\n\n".join([letter.text, *missing]))
    if letter.html is not None:
        message.add_alternative(letter.html, subtype="html")
    for name, media_type, data in attached:
        main, _, sub = media_type.partition(";")[0].strip().partition("/")
        params = {"charset": "utf-8"} if main == "text" else None  # ours are; without it a reader takes them for ASCII
        message.add_attachment(
            data, maintype=main or "application", subtype=sub or "octet-stream", filename=name, params=params
        )
    return message


async def _own(unit: Unit, desk: Desk, delivery: Delivery) -> EmailParcel:
    """An e-mail that is no notification's: to a given address, with files attached."""
    content = delivery.content or {}
    enclosed = await files.by_ids(unit, [UUID(file_id) for file_id in content["files"]])
    letter = Letter(content["subject"], content["text"], content["html"])
    return _email(desk, delivery, delivery.address or "", letter, enclosed)


async def _attachments(store: FileStore, enclosed: Sequence[File | None]) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    """Files as name, type and bytes; and a line for each that cannot be attached."""
    attached: list[tuple[str, str, bytes]] = []
    missing: list[str] = []
    room = _ATTACHED
    for file in enclosed:
        if file is None:
            missing.append("A file that belonged here has expired.")
        elif file.size > room:
            missing.append(f"{file.name} is too large for an e-mail; download it from the app.")
        else:
            try:
                data = b"".join([chunk async for chunk in await files.read(store, file)])
            except NotFound:
                missing.append(f"{file.name} has expired.")
                continue
            room -= file.size
            attached.append((file.name, file.media_type, data))
    return attached, missing


def _email(desk: Desk, delivery: Delivery, to: str, letter: Letter, enclosed: Sequence[File | None] = ()) -> EmailParcel:
    if desk.mail is None:
        raise VendorRefused("This server does not send e-mail: SMTP_URL is not set.")
    message = EmailMessage()
    message["Subject"] = " ".join(letter.subject.split())
    message["From"] = desk.mail_from
    message["To"] = to
    # The same at every attempt: a message that arrives twice is known to be one.
    message["Message-ID"] = f"<{delivery.id}@{parseaddr(desk.mail_from)[1].rpartition('@')[2]}>"
    message["Date"] = format_datetime(delivery.created_at)
    message["Auto-Submitted"] = "auto-generated"
    return EmailParcel(to, message, letter, enclosed)
