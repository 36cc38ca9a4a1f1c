"""The things that a job does one by one, so that a retry does only those that are left.

They are written in the handler's own fenced unit, together with what was done: an item that is done is never done again, and
`done + failed + pending` is always the number of items. A job that ends with failed items ends as partial.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert

from db.models.recovery import ItemState, JobItem
from domain.actor import Scope
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit

BY_NUMBER = Order((JobItem.number, JobItem.key))
_TEXTS = postgresql.ARRAY(sa.Text())


@dataclass(frozen=True, slots=True)
class Item:
    """An item to do: `key` tells it from the job's others in every attempt, `title` is for people."""

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of a job's items stand how."""

    done: int = 0
    failed: int = 0
    pending: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.done + self.failed + self.pending


async def add(unit: Unit, *, job_id: UUID, items: Sequence[Item]) -> None:
    """Write items down as pending, after those that are there. One whose key is there already is left as it is."""
    keys = sa.literal([item.key for item in items], _TEXTS)
    titles = sa.literal([item.title for item in items], _TEXTS)
    given = sa.func.unnest(keys, titles).table_valued(
        sa.column("key", sa.Text), sa.column("title", sa.Text), with_ordinality="place", joins_implicitly=True
    )
    given = given.render_derived()
    mine = JobItem.job_id == job_id
    known = sa.select(JobItem.key).where(mine)
    last = sa.select(sa.func.coalesce(sa.func.max(JobItem.number), 0)).where(mine).scalar_subquery()
    number = last + sa.func.row_number().over(order_by=given.c.place)
    new = sa.select(
        sa.literal(unit.account_id),
        sa.literal(job_id),
        given.c.key,
        number,
        given.c.title,
        sa.literal(ItemState.PENDING.value),
    ).where(given.c.key.not_in(known))
    row = insert(JobItem).from_select(["account_id", "job_id", "key", "number", "title", "state"], new)
    await unit.session.execute(row.on_conflict_do_nothing())


async def finish(unit: Unit, *, job_id: UUID, key: str, result: dict[str, Any] | None = None) -> bool:
    """Keep that an item is done. False when it was already, and then nothing is written."""
    return await _settle(unit, job_id, key, {"state": ItemState.DONE, "code": None, "message": None, "result": result})


async def fail(unit: Unit, *, job_id: UUID, key: str, code: str, message: str) -> bool:
    """Keep that an item failed, with an error code and a sentence for people. False when it is done already."""
    return await _settle(unit, job_id, key, {"state": ItemState.FAILED, "code": code, "message": message})


async def pending(unit: Unit, *, job_id: UUID, limit: int) -> list[JobItem]:
    """The next items to do, in their order."""
    query = sa.select(JobItem).where(JobItem.job_id == job_id, JobItem.state == ItemState.PENDING)
    return list((await unit.session.scalars(query.order_by(JobItem.number).limit(limit))).all())


async def reopen(unit: Unit, *, job_id: UUID) -> int:
    """Make failed items pending again, for a retry; what they failed for stays to be read. Returns how many."""
    failed = sa.update(JobItem).where(JobItem.job_id == job_id, JobItem.state == ItemState.FAILED)
    reopened = failed.values(state=ItemState.PENDING, updated_at=sa.func.now()).returning(JobItem.key)
    return len((await unit.session.scalars(reopened.execution_options(synchronize_session=False))).all())


async def tally(unit: Unit, *, job_id: UUID) -> Tally:
    """How a job's items stand."""
    return (await tallies(unit, [job_id]))[0]


async def tallies(unit: Unit, job_ids: Sequence[UUID]) -> list[Tally]:
    """The same of some jobs, in their order. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    counted: dict[UUID, dict[str, int]] = {}
    for job_id, state, number in await unit.session.execute(_count(job_ids)):
        counted.setdefault(job_id, {})[state.value] = number
    return [Tally(**counted.get(job_id, {})) for job_id in job_ids]


async def items_page(unit: Unit, *, job_id: UUID, states: Collection[ItemState], window: Window) -> Page[JobItem]:
    """A job's items in their order; all where `states` is empty. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobItem).where(JobItem.account_id == unit.account_id, JobItem.job_id == job_id)
    query = query.where(JobItem.state.in_(sorted(states))) if states else query
    return await paginate(unit.session, query, order=BY_NUMBER, window=window)


async def _settle(unit: Unit, job_id: UUID, key: str, values: dict[str, Any]) -> bool:
    row = sa.update(JobItem).where(JobItem.job_id == job_id, JobItem.key == key, JobItem.state != ItemState.DONE)
    row = row.values(**values, updated_at=sa.func.now()).returning(JobItem.key)
    return (await unit.session.scalars(row.execution_options(synchronize_session=False))).one_or_none() is not None


def _count(job_ids: Sequence[UUID]) -> "sa.Select[UUID, ItemState, int]":
    query = sa.select(JobItem.job_id, JobItem.state, sa.func.count()).where(JobItem.job_id.in_(job_ids))
    return query.group_by(JobItem.job_id, JobItem.state)
