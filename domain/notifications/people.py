"""Who could be told of something, and what each of them wanted when it happened."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.notifications import NotificationSetting
from db.models.tenancy import Role, User
from domain.actor import ROLE_SCOPES, Scope
from domain.jobs.args import kinds
from domain.notifications.gathering import Happened
from domain.notifications.routing import Preferences, Route, Rule, route

_NOBODY_CHOSE = Preferences()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of an account, with what they want since when, oldest first."""

    id: UUID
    role: Role
    wants: Sequence[tuple[datetime, Preferences]]

    def may_see(self, kind: str | None) -> bool:
        """Whether jobs of this kind are shown to them."""
        known = kinds().get(kind or "")
        return (Scope.JOBS_READ if known is None else known.seen_with) in ROLE_SCOPES[self.role]

    def wanted(self, at: datetime) -> Preferences:
        """What they wanted at a time."""
        return next((preferences for since, preferences in reversed(self.wants) if since <= at), _NOBODY_CHOSE)


def preferences_of(setting: Any) -> Preferences:
    """What a stored row says. A rule that only a newer release understands is left out."""
    return Preferences(
        enabled=setting.enabled,
        default_channel=setting.default_channel,
        muted_until=setting.muted_until,
        rules=tuple(_known(setting.rules)),
    )


def _known(stored: Sequence[Mapping[str, Any]]) -> Iterator[Rule]:
    for each in stored:
        with suppress(ValueError, KeyError, TypeError):
            yield Rule.from_json(each)


def _people() -> "sa.Select[Any]":
    setting, newer = NotificationSetting.__table__.alias(), NotificationSetting.__table__.alias()
    superseded = sa.exists().where(
        newer.c.account_id == setting.c.account_id,
        newer.c.user_id == setting.c.user_id,
        newer.c.version > setting.c.version,
        newer.c.since <= sa.bindparam("since"),
    )
    user = User.__table__
    mine = sa.and_(setting.c.account_id == user.c.account_id, setting.c.user_id == user.c.id, ~superseded)
    wants = (setting.c[name] for name in ("since", "enabled", "default_channel", "muted_until", "rules"))
    accounts = sa.bindparam("accounts", type_=postgresql.ARRAY(user.c.account_id.type))
    return (
        sa.select(user.c.id, user.c.account_id, user.c.role, *wants)
        .select_from(user.outerjoin(setting, mine))
        .where(user.c.account_id == sa.any_(accounts), user.c.disabled_at.is_(None))
        .order_by(user.c.account_id, user.c.id, setting.c.version)
    )


# Built once: workers ask this after each job.
_PEOPLE = _people()


async def of_accounts(session: AsyncSession, accounts: Collection[UUID], *, since: datetime) -> dict[UUID, list[Person]]:
    """All who are not shut out, with what they have wanted at any time from `since` on; in one statement."""
    found: dict[UUID, dict[UUID, Person]] = defaultdict(dict)
    for row in await session.execute(_PEOPLE, {"accounts": list(accounts), "since": since}):
        known = found[row.account_id].get(row.id)
        wants = () if known is None else known.wants
        wants = wants if row.since is None else (*wants, (row.since, preferences_of(row)))
        found[row.account_id][row.id] = Person(row.id, row.role, wants)
    return {account_id: list(people.values()) for account_id, people in found.items()}


def routes(happened: Happened, people: Sequence[Person]) -> dict[UUID, Route]:
    """Where each of those who may see it and want to know is told, except who did it."""
    found: dict[UUID, Route] = {}
    for person in people:
        if person.id == happened.not_to or not person.may_see(happened.job_kind):
            continue
        way = route(
            person.wanted(happened.at),
            event=happened.event,
            kind=happened.job_kind,
            critical=happened.critical,
            at=happened.at,
        )
        if way is not None:
            found[person.id] = way
    return found
