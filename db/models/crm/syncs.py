"""The runs of contact syncs: what was asked for and what came of it. State and progress live on the run's job."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, choice, new_id, owned_by, owned_key


class SyncDirection(StrEnum):
    """Which side is written: ours (bb), GoHighLevel's, or both."""

    GHL_TO_BB = "ghl_to_bb"
    BB_TO_GHL = "bb_to_ghl"
    BIDIRECTIONAL = "bidirectional"


class ConflictPolicy(StrEnum):
    """Whose value stays when both sides changed the same field since the last sync."""

    GHL_WINS = "ghl_wins"
    BB_WINS = "bb_wins"
    MOST_RECENT_WINS = "most_recent_wins"


class SyncRun(AccountOwned, Base):
    """One sync of a location's contacts. `only_tags` empty means all contacts."""

    __tablename__ = "sync_run"
    __table_args__ = (
        owned_key("sync_run"),
        owned_by("location_id", "location"),
        owned_by("job_id", "job"),
        sa.UniqueConstraint("job_id"),
        sa.Index(None, "account_id", "location_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    location_id: Mapped[UUID]
    job_id: Mapped[UUID]
    direction: Mapped[SyncDirection] = mapped_column(choice(SyncDirection))
    policy: Mapped[ConflictPolicy] = mapped_column(choice(ConflictPolicy))
    only_tags: Mapped[list[str]]
    created: Mapped[int] = mapped_column(default=0)
    updated: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    merged: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    conflicts: Mapped[int] = mapped_column(default=0)
    pushed: Mapped[int] = mapped_column(default=0)
    missing: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
