"""People in a location's address book, their counterparts at GoHighLevel, and the definitions of custom fields."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key


class ContactSource(StrEnum):
    """Where a contact was first known."""

    GHL = "ghl"
    BB = "bb"


class ContactSyncState(StrEnum):
    """`pending`: changed here, not yet at GoHighLevel. `remote_deleted`: gone there, kept here for a person to decide."""

    LOCAL = "local"
    SYNCED = "synced"
    PENDING = "pending"
    REMOTE_DELETED = "remote_deleted"


class Contact(AccountOwned, Base):
    """A person. E-mail is lower case, telephones are E.164; `custom_fields` maps a CustomField's external id to its value.

    `modified_at` is when its data last changed on either side, the measure of "most recent wins".
    """

    __tablename__ = "contact"
    __table_args__ = (
        owned_key("contact"),
        owned_by("location_id", "location"),
        sa.Index("ix_contact_all_newest", "account_id", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("ix_contact_newest", "account_id", "location_id", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("ix_contact_name", "account_id", "location_id", "display_name", "id"),
        sa.Index("ix_contact_email", "account_id", "location_id", "email"),
        sa.Index("ix_contact_phone", "account_id", "location_id", "phone"),
        sa.Index(
            "ix_contact_pending",
            "account_id",
            "location_id",
            "id",
            postgresql_where=sa.text("sync_state IN ('local', 'pending')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    location_id: Mapped[UUID]
    source: Mapped[ContactSource] = mapped_column(choice(ContactSource))
    sync_state: Mapped[ContactSyncState] = mapped_column(choice(ContactSyncState))
    display_name: Mapped[str]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    email: Mapped[str | None]
    other_emails: Mapped[list[str]] = mapped_column(default=list)
    phone: Mapped[str | None]
    other_phones: Mapped[list[str]] = mapped_column(default=list)
    company: Mapped[str | None]
    website: Mapped[str | None]
    street: Mapped[str | None]
    city: Mapped[str | None]
    region: Mapped[str | None]
    postal_code: Mapped[str | None]
    country: Mapped[str | None]
    time_zone: Mapped[str | None]
    birthday: Mapped[date | None]
    origin: Mapped[str | None]
    assigned_to: Mapped[str | None]
    do_not_disturb: Mapped[bool] = mapped_column(default=False)
    tags: Mapped[list[str]] = mapped_column(default=list)
    custom_fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)
    modified_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class ContactRef(AccountOwned, Base):
    """A contact's counterpart at GoHighLevel. Duplicates there lead to one contact here: it is then written to the primary.

    `base` is the contact's data as of the last sync, the common ancestor when both sides changed; `synced_version` is the
    contact's version then.
    """

    __tablename__ = "contact_ref"
    __table_args__ = (
        owned_by("contact_id", "contact"),
        owned_by("location_id", "location"),
        sa.Index(None, "contact_id"),
        sa.Index(
            "uq_contact_ref_primary",
            "contact_id",
            unique=True,
            postgresql_where=sa.text("is_primary AND missing_since IS NULL"),
        ),
    )

    location_id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str] = mapped_column(primary_key=True)
    contact_id: Mapped[UUID]
    is_primary: Mapped[bool] = mapped_column(default=True)
    base: Mapped[dict[str, Any]]
    synced_version: Mapped[int]
    remote_modified_at: Mapped[datetime | None]
    seen_run: Mapped[UUID | None]
    seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    missing_since: Mapped[datetime | None]


class CustomField(AccountOwned, Base):
    """A location's own field. `data_type` is the vendor's name of it, such as TEXT, DATE or MULTIPLE_OPTIONS."""

    __tablename__ = "custom_field"
    __table_args__ = (owned_by("location_id", "location"),)

    location_id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str]
    name: Mapped[str]
    data_type: Mapped[str]
    options: Mapped[list[str]] = mapped_column(default=list)
