"""What follows from jobs' moves, also where one of them cannot be stood."""

from collections.abc import Sequence
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import new_id
from db.models.jobs import Job, JobMove, JobState
from db.models.queues import DependencyPolicy
from domain import reactions
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from tests.factories.engine import Engine, Scripted, play

NEWER_RULES = (
    '[{"event": "job_teleported", "kind": null, "channels": null, "critical": null},'
    ' {"event": "job_completed", "kind": null, "channels": ["telepathy"], "critical": null}]'
)


async def succeed(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")


async def moves_left(engine: Engine) -> int:
    (row,) = await engine.sql("select count(*) as n from job_move")
    return int(row["n"])


async def parent_and_child(engine: Engine, account_id: UUID) -> tuple[Job, Job]:
    """The parent has ended, and nobody has reacted to that."""
    parent = await engine.enqueue(account_id, play(succeed))
    child = await engine.enqueue(account_id, play(succeed), after=[(parent.id, DependencyPolicy.SUCCEEDED)])
    await engine.attempt(parent)
    return parent, child


async def test_what_a_reaction_cannot_stand_is_dropped_for_that_move_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the account's other moves nor another account's are kept waiting, and the other reactions take place."""
    mine, theirs = await engine.account(), await engine.account()
    poison, child = await parent_and_child(engine, mine)
    good, _ = await parent_and_child(engine, mine)
    other, foreign_child = await parent_and_child(engine, theirs)
    told: list[UUID] = []

    async def choosy(session: AsyncSession, moves: Sequence[JobMove]) -> list[Job]:
        if any(move.job_id == poison.id for move in moves):
            await session.execute(sa.text("select 1 / 0"))
        told.extend(move.job_id for move in moves)
        return []

    monkeypatch.setattr(reactions, "REACTIONS", (choosy, *reactions.REACTIONS))
    await engine.runtime.react()
    assert sorted(told) == sorted([good.id, other.id])
    assert await moves_left(engine) == 0
    for each in (child, foreign_child):
        assert (await engine.job(each.id)).state is not JobState.BLOCKED


async def test_what_may_succeed_later_is_not_dropped(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _, child = await parent_and_child(engine, await engine.account())
    all_of_them = reactions.REACTIONS

    async def deadlocked(session: AsyncSession, moves: Sequence[JobMove]) -> list[Job]:
        await session.execute(sa.text("do $$ begin raise exception 'x' using errcode = 'deadlock_detected'; end $$"))
        return []

    monkeypatch.setattr(reactions, "REACTIONS", (*all_of_them, deadlocked))
    await engine.runtime.react()
    assert await moves_left(engine) == 1
    assert (await engine.job(child.id)).state is JobState.BLOCKED
    monkeypatch.setattr(reactions, "REACTIONS", all_of_them)
    await engine.runtime.react()
    assert await moves_left(engine) == 0


async def test_wishes_that_only_a_newer_release_understands_are_left_out(engine: Engine) -> None:
    """They stay behind when a release is rolled back; the person is still told of all that this release knows."""
    account_id, user_id = await engine.account(), new_id()
    person = (
        'insert into "user" (id, account_id, email, name, role, password_hash, version)'
        " values ($1, $2, $3, 'P', 'owner', 'x', 1)"
    )
    await engine.sql(person, user_id, account_id, f"{user_id}@example.com")
    wishes = (
        "insert into notification_setting (account_id, user_id, version, enabled, default_channel, rules, since)"
        " values ($1, $2, 1, true, 'email', $3, now() - interval '1 h')"
    )
    await engine.sql(wishes, account_id, user_id, NEWER_RULES)
    await parent_and_child(engine, account_id)
    async with engine.database.system_across_accounts() as session:
        await reactions.react(session)
    (told,) = await engine.sql("select user_id from notification where account_id = $1", account_id)
    assert told["user_id"] == user_id
