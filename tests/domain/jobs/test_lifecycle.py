"""The states of a job, and the one function that moves it between them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.base import new_id
from db.models.jobs import TERMINAL, AttemptOutcome, JobState
from domain.jobs.lifecycle import MOVES, AttemptEnd, IllegalMove, Transition, transition
from tests.factories.engine import Engine

# The design's table, written down a second time.
DESIGN = {
    "blocked": "ready scheduled skipped cancelled",
    "scheduled": "ready blocked cancelled",
    "ready": "admitted blocked cancelled",
    "admitted": "running ready cancelled",
    "running": "succeeded partial failed cancelled backoff waiting ready cancelling scheduled",
    "backoff": "ready cancelled",
    "waiting": "ready cancelled",
    "cancelling": "succeeded partial failed cancelled",
    "succeeded": "",
    "partial": "ready",
    "failed": "ready",
    "cancelled": "ready",
    "skipped": "",
}
states = st.sampled_from(JobState)


def test_the_moves_are_those_of_the_design() -> None:
    assert {state.value: {to.value for to in MOVES[state]} for state in JobState} == {
        state: set(to.split()) for state, to in DESIGN.items()
    }


def test_an_end_is_left_by_a_retry_only_and_success_never() -> None:
    assert all(MOVES[state] <= {JobState.READY} for state in TERMINAL)
    assert not MOVES[JobState.SUCCEEDED]
    assert not MOVES[JobState.SKIPPED]


@given(states)
def test_every_job_that_has_not_ended_can_end(state: JobState) -> None:
    reached, new = {state}, {state}
    while new:
        new = {to for known in new for to in MOVES[known]} - reached
        reached |= new
    assert state in TERMINAL or reached & TERMINAL


@given(st.frozensets(states, min_size=1), states)
def test_a_move_that_does_not_exist_cannot_even_be_asked_for(sources: frozenset[JobState], to: JobState) -> None:
    if all(to in MOVES[source] for source in sources):
        Transition([new_id()], sources, to)
    else:
        with pytest.raises(IllegalMove, match=str(to)):
            Transition([new_id()], sources, to)


async def test_a_stale_fence_changes_nothing(engine: Engine) -> None:
    running = await engine.start(await engine.enqueue(await engine.account()))
    late = Transition(
        [running.id],
        frozenset({JobState.RUNNING}),
        JobState.SUCCEEDED,
        fence=running.fence - 1,
        values={"message": "too late"},
        ends=AttemptEnd(AttemptOutcome.SUCCEEDED),
    )
    async with engine.database.system_across_accounts() as session:
        assert await transition(session, late) == []

    now = await engine.job(running.id)
    assert (now.state, now.version, now.message) == (JobState.RUNNING, running.version, None)
    assert len(await engine.events(running)) == running.version
    assert (await engine.attempts(running))[0].outcome is None


async def test_of_two_who_move_a_job_at_once_one_does(engine: Engine) -> None:
    job = await engine.enqueue(await engine.account())
    await engine.capacity()
    (admitted,) = await engine.admit()
    claims = await asyncio.gather(*(engine.claim(admitted, name=f"worker {number}") for number in range(8)))
    (winner,) = [claim for claim in claims if claim is not None]
    assert [attempt.worker for attempt in await engine.attempts(job)] == [winner.worker]


async def test_a_move_is_told_with_what_the_job_looked_like(engine: Engine) -> None:
    running = await engine.start(await engine.enqueue(await engine.account()))
    held = await engine.held(running)
    async with held.unit() as unit:
        await held.advance(unit, done=3, total=9, phase="contacts", message="Three of nine")
    async with engine.database.account(running.account_id) as session:
        ended = Transition([running.id], frozenset({JobState.RUNNING}), JobState.SUCCEEDED, values={"message": "Done"})
        await transition(session, ended)

    told = [(event.version, event.state, event.attempt, event.done, event.message) for event in await engine.events(running)]
    assert told == [
        (1, JobState.READY, 0, 0, None),
        (2, JobState.ADMITTED, 0, 0, None),
        (3, JobState.RUNNING, 1, 0, None),
        (4, JobState.RUNNING, 1, 3, "Three of nine"),
        (5, JobState.SUCCEEDED, 1, 3, "Done"),
    ]
