"""The kinds of jobs as people meet them: which ones somebody may see, what they are called, how many there are of each."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from db.base import any_of
from db.models.jobs import Job, Lane
from db.models.tenancy import ActorType
from domain.actor import Scope
from domain.errors import Forbidden
from domain.jobs.args import JobArgs, kinds
from domain.unit import Unit

_PEOPLE = frozenset({ActorType.USER, ActorType.API_KEY, ActorType.SUPPORT})


@dataclass(frozen=True, slots=True)
class KindCount:
    """A kind and how many jobs of it the account has, archived ones left out. `lane` is None for a newer release's kind."""

    kind: str
    title: str
    lane: Lane | None
    count: int


def hidden_kinds(scopes: Collection[Scope]) -> list[str]:
    """Kinds that nobody with just these scopes may see, sorted. One that this release does not know is seen by all."""
    return sorted(name for name, args in kinds().items() if args.seen_with not in scopes)


def housekeeping_kinds() -> list[str]:
    """The product's own kinds, sorted."""
    return sorted(name for name, args in kinds().items() if args.housekeeping)


def seen_with(scopes: Collection[Scope]) -> list[Scope]:
    """Those of `scopes` without which some kind would be hidden: who has them all sees what the others see."""
    return sorted({Scope.JOBS_READ} | {args.seen_with for args in kinds().values() if args.seen_with in scopes})


def is_visible(unit: Unit, kind: str) -> bool:
    """Whether the actor may see jobs of this kind."""
    known = kinds().get(kind)
    return known is None or known.seen_with in unit.actor.scopes


def require_changeable(unit: Unit, job: Job) -> None:
    """That it is not the product's own work, which nobody else stops or moves. What people asked for is theirs.

    Raises Forbidden.
    """
    known = kinds().get(job.kind)
    if known is None or not known.housekeeping or job.origin_type in _PEOPLE or unit.actor.type is ActorType.SYSTEM:
        return
    raise Forbidden("The system does this by itself; it can be neither changed nor stopped.")


def none_of(names: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether a job is of none of these kinds."""
    return sa.true() if not names else sa.not_(any_of(Job.kind, sorted(names)))


def title_of(kind: str) -> str:
    """What people call it; a newer release's kind is called by its raw name."""
    known = kinds().get(kind)
    return kind if known is None else known.title


async def kind_counts(unit: Unit, *, housekeeping: bool) -> list[KindCount]:
    """Every kind that the actor may see, by title; those without jobs have a count of 0. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(Job.kind, sa.func.count()).where(Job.account_id == unit.account_id, Job.archived_at.is_(None))
    counts = dict((await unit.session.execute(query.group_by(Job.kind))).all())
    known: dict[str, type[JobArgs]] = dict(kinds())
    left_out = {*hidden_kinds(unit.actor.scopes), *(() if housekeeping else housekeeping_kinds())}
    found = [
        KindCount(name, title_of(name), known[name].lane if name in known else None, counts.get(name, 0))
        for name in {*known, *counts} - left_out
    ]
    return sorted(found, key=lambda each: (each.title, each.kind))
