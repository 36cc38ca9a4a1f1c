"""One transaction, for one account, as one actor."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import Lane
from db.models.tenancy import AuditLog
from domain.actor import Actor, Scope
from domain.events import Change


@dataclass(slots=True, eq=False)
class Unit:
    """What a command or query works in. `Runtime.unit` opens it; only that commits, and then delivers what was promised here.

    A promise that cannot be kept after the commit (Redis is down, the process dies) is repaired by the clock process and by
    readers: PostgreSQL already has the truth.
    """

    session: AsyncSession
    actor: Actor
    changes: list[Change] = field(default_factory=list)
    lanes_to_admit: set[Lane] = field(default_factory=set)
    reacts: bool = False

    @property
    def account_id(self) -> UUID:
        """The account whose rows this unit sees."""
        return self.actor.account_id

    def require(self, scope: Scope) -> None:
        """Raises Forbidden unless the actor has `scope`."""
        self.actor.require(scope)

    def changed(self, noun: str, subject_id: UUID) -> None:
        """Promise subscribers a hint that `subject_id` changed."""
        self.changes.append(Change(noun, subject_id))

    def admit(self, lane: Lane) -> None:
        """Promise an admission in `lane`, so that a ready job starts in milliseconds where a slot is free."""
        self.lanes_to_admit.add(lane)

    def react(self) -> None:
        """Promise that what follows from a job's move happens at once."""
        self.reacts = True

    def audit(self, action: str, *, subject_type: str, subject_id: UUID | None, **details: Any) -> None:
        """Record what the actor does, in the same transaction. `details` are JSON values and never secrets."""
        self.session.add(
            AuditLog(
                account_id=self.account_id,
                actor_type=self.actor.type,
                actor_id=self.actor.id,
                actor_name=self.actor.name,
                action=action,
                subject_type=subject_type,
                subject_id=subject_id,
                details=details,
                request_id=self.actor.request_id,
            )
        )
