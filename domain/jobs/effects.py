"""Things outside that must happen at most once, whatever dies in between: a call, an e-mail, something bought.

The intent is written down and committed, then the vendor is asked with a key that is the same in every attempt, then it is
written down that it is done. An attempt that finds an intent without an end does not know whether the vendor was reached. It
asks the vendor; where that cannot be asked the effect is `unknown`, and stays so until a person has found out.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.jobs import LogLevel
from db.models.recovery import Effect, EffectState
from domain.actor import Scope
from domain.errors import Conflict, DomainError, Invalid, NotFound, VendorBusy, VendorRefused, VendorUnauthorized
from domain.jobs.options import Suspended
from domain.jobs.queue import lock
from domain.jobs.running import CancelRequested, HandBack, LeaseLost, Running
from domain.unit import Unit

# An act does not begin longer than this after the job was last seen to be ours: this process was frozen meanwhile, and the
# job may be another's. A lease is good for twice as long between two heartbeats.
BEGINS_WITHIN = 10.0
# The vendor's word that it did nothing.
_DID_NOTHING = (VendorBusy, VendorRefused, VendorUnauthorized, Invalid)
_MAX_SHOWN = 100

Act = Callable[[str], Awaitable[str]]
Find = Callable[[str], Awaitable[str | None]]


class EffectUnknown(DomainError):
    """It may have happened, and nobody can be asked: it is not tried again unless a person says that it did not happen."""

    code = "BGJ-028"


class NotUnknown(Conflict):
    """Only an effect of which nobody knows whether it happened is settled by a person."""

    code = "BGJ-029"


async def once(job: Running[Any], *, key: str, act: Act, find: Find | None = None) -> str:
    """The vendor's id of the effect `key`: made by `act(key)`, unless it was made before.

    `key` is unique in the account and follows from what the job is to do, so that every attempt has the same. `find(key)` asks
    the vendor for what came of an act that was begun, None where it was not; without it an interrupted act becomes unknown.
    An error of `act` that is no answer of the vendor leaves open whether it happened.
    Raises EffectUnknown, whatever a unit of the job raises, and whatever `act` and `find` raise.
    """
    held_at = time.monotonic()
    effect = await _intend(job, key)
    if effect is not None:
        if effect.state is EffectState.DONE:
            return effect.vendor_id or ""
        if effect.state is EffectState.UNKNOWN or find is None:
            raise await _unknown(job, key)
        found = await find(key)
        if found is not None:
            return await _done(job, key, found)
        held_at = time.monotonic()
        async with job.unit():
            pass  # still ours
    if time.monotonic() - held_at > BEGINS_WITHIN:
        raise LeaseLost
    try:
        vendor_id = await act(key)
    except _DID_NOTHING:
        await _withdraw(job, key)
        raise
    return await _done(job, key, vendor_id)


async def settle(unit: Unit, *, job_id: UUID, key: str, happened: bool, vendor_id: str | None = None) -> None:
    """Keep what a person found out about an unknown effect: that it happened, or that a retry may do it.

    Raises Forbidden, NotFound, NotUnknown.
    """
    unit.require(Scope.JOBS_WRITE)
    await lock(unit, job_id)
    effect = (await unit.session.scalars(_select(key).where(Effect.job_id == job_id).with_for_update())).one_or_none()
    if effect is None:
        raise NotFound("This job has no such effect.", field=("key",))
    if effect.state is not EffectState.UNKNOWN:
        raise NotUnknown("Whether this happened is not in question.", field=("key",))
    if happened:
        await unit.session.execute(_update(key, EffectState.DONE, vendor_id))
    else:
        await unit.session.execute(_delete(key))
    unit.audit("job.settle_effect", subject_type="job", subject_id=job_id, key=key, happened=happened, vendor_id=vendor_id)
    unit.changed("job", job_id)


async def effects_of(unit: Unit, job_ids: Sequence[UUID]) -> list[list[Effect]]:
    """The effects of some jobs, in the jobs' order, of each job the newest 100. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    place = sa.func.row_number().over(partition_by=Effect.job_id, order_by=(Effect.created_at.desc(), Effect.key))
    ranked = sa.select(Effect.key, place.label("place")).where(Effect.job_id.in_(job_ids)).subquery()
    newest = sa.select(ranked.c.key).where(ranked.c.place <= _MAX_SHOWN)
    found: dict[UUID, list[Effect]] = {job_id: [] for job_id in job_ids}
    query = sa.select(Effect).where(Effect.job_id.in_(job_ids), Effect.key.in_(newest))
    for effect in await unit.session.scalars(query.order_by(Effect.created_at.desc(), Effect.key)):
        found[effect.job_id].append(effect)
    return [found[job_id] for job_id in job_ids]


async def _intend(job: Running[Any], key: str) -> Effect | None:
    """Write the intent down; returns the effect where an earlier attempt had done so."""
    is_new = False
    try:
        async with job.unit() as unit:
            row = insert(Effect).values(account_id=job.account_id, key=key, job_id=job.id).on_conflict_do_nothing()
            is_new = (await unit.session.scalar(row.returning(Effect.key))) is not None
            return None if is_new else (await unit.session.scalars(_select(key))).one()
    except (HandBack, CancelRequested, Suspended):
        if is_new:  # committed, and nothing will be begun
            await _withdraw(job, key)
        raise


async def _unknown(job: Running[Any], key: str) -> EffectUnknown:
    message = f"Whether {key} happened is not known: it was begun, and an attempt ended before the answer came."
    async with job.unit() as unit:
        await unit.session.execute(_update(key, EffectState.UNKNOWN, None))
        job.log(unit, level=LogLevel.ERROR, code=EffectUnknown.code, message=message, subject=key)
    return EffectUnknown(message)


async def _done(job: Running[Any], key: str, vendor_id: str) -> str:
    async with job.unit() as unit:
        await unit.session.execute(_update(key, EffectState.DONE, vendor_id))
    return vendor_id


async def _withdraw(job: Running[Any], key: str) -> None:
    async with job.unit() as unit:
        await unit.session.execute(_delete(key))


def _select(key: str) -> "sa.Select[Effect]":
    return sa.select(Effect).where(Effect.key == key).execution_options(populate_existing=True)


def _update(key: str, state: EffectState, vendor_id: str | None) -> sa.Update:
    row = sa.update(Effect).where(Effect.key == key, Effect.state != EffectState.DONE)
    values = {"state": state, "vendor_id": vendor_id, "updated_at": sa.func.now()}
    return row.values(values).execution_options(synchronize_session=False)


def _delete(key: str) -> sa.Delete:
    row = sa.delete(Effect).where(Effect.key == key, Effect.state != EffectState.DONE)
    return row.execution_options(synchronize_session=False)
