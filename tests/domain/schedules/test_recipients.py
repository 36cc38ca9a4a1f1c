"""Whoever lets a schedule write to somebody may see themselves what is sent."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from db.models.schedules import Schedule
from db.models.tenancy import ActorType
from db.models.workflows import ReportOf, Workflow
from domain import actor as actors
from domain.actor import Actor, Scope
from domain.errors import Forbidden
from domain.schedules import commands
from domain.schedules.commands import Options, Timing
from domain.schedules.recurrence import EveryMinutes
from domain.workflows import commands as workflows
from domain.workflows.steps import Report, Step, Wait
from tests.factories.engine import Engine

EACH_DAY = Timing(EveryMinutes(24 * 60), "UTC")
CONTACTS = (Wait(60), Report(ReportOf.CONTACTS, 30))
TO_TEAM, TO_TWO, TO_NOBODY = (Options(recipients=to) for to in (["a@team.example"], ["a@team.example", "b@x.example"], []))


def key(account_id: UUID, *scopes: Scope) -> Actor:
    """An API key that may change workflows, and what else is given."""
    return Actor(ActorType.API_KEY, account_id, "A key", frozenset({Scope.WORKFLOWS_WRITE, *scopes}))


async def workflow_of(engine: Engine, account_id: UUID, *steps: Step) -> Workflow:
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        return await workflows.create(unit, name="W", description=None, steps=steps)


async def make(engine: Engine, actor: Actor, workflow: Workflow, options: Options) -> Schedule:
    async with engine.runtime.unit(actor) as unit:
        return await commands.create(unit, workflow_id=workflow.id, name="S", timing=EACH_DAY, options=options)


async def change(
    engine: Engine, actor: Actor, schedule: Schedule, *, to: Workflow | None = None, options: Options | None = None
) -> Sequence[str]:
    """The recipients afterwards."""
    async with engine.runtime.unit(actor) as unit:
        changed = await commands.update(
            unit,
            schedule_id=schedule.id,
            expected_version=schedule.version,
            name="Another name",
            workflow_id=None if to is None else to.id,
            options=options,
        )
        return changed.recipients


async def test_a_new_schedule_tells_nobody_what_its_maker_may_not_see(engine: Engine) -> None:
    account_id = await engine.account()
    workflow = await workflow_of(engine, account_id, *CONTACTS)
    with pytest.raises(Forbidden, match="contacts:read"):
        await make(engine, key(account_id), workflow, TO_TEAM)
    assert await engine.sql("select 1 from schedule") == []
    await make(engine, key(account_id), workflow, TO_NOBODY)
    await make(engine, key(account_id, Scope.CONTACTS_READ), workflow, TO_TEAM)


async def test_nobody_is_added_by_who_may_not_see_it_and_whoever_is_there_may_be_left_out(engine: Engine) -> None:
    account_id = await engine.account()
    workflow = await workflow_of(engine, account_id, *CONTACTS)
    schedule = await make(engine, actors.system(account_id), workflow, TO_TEAM)
    with pytest.raises(Forbidden, match="contacts:read"):
        await change(engine, key(account_id), schedule, options=TO_TWO)
    assert await change(engine, key(account_id, Scope.CONTACTS_READ), schedule, options=TO_TWO) == TO_TWO["recipients"]
    schedule.version += 1
    assert await change(engine, key(account_id), schedule, options=TO_TEAM) == TO_TEAM["recipients"]
    schedule.version += 1
    assert await change(engine, key(account_id), schedule, options=TO_NOBODY) == []


async def test_another_workflow_s_results_do_not_go_to_those_who_are_written_to(engine: Engine) -> None:
    account_id = await engine.account()
    harmless, contacts = await workflow_of(engine, account_id, Wait(60)), await workflow_of(engine, account_id, *CONTACTS)
    schedule = await make(engine, key(account_id), harmless, TO_TEAM)
    with pytest.raises(Forbidden, match="contacts:read"):
        await change(engine, key(account_id), schedule, to=contacts)
    with pytest.raises(Forbidden, match="contacts:read"):
        await change(engine, key(account_id), schedule, to=contacts, options=TO_TWO)
    assert await change(engine, key(account_id), schedule, to=contacts, options=TO_NOBODY) == []
