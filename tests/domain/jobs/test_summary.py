"""Counts equal GROUP BY, and each job is in exactly one group (invariant 11)."""

from collections import Counter
from datetime import timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.models.jobs import TERMINAL, Job, JobState
from domain import actor as actors
from domain.jobs import queries, summary
from domain.jobs.args import UnreadableArgs
from domain.jobs.catalog import hidden_kinds
from domain.jobs.priority import JobPriority
from domain.jobs.queries import JobFilter, StatusGroup, filter_from_json, filter_to_json, group_of
from domain.unit import Unit
from tests.factories.engine import Engine
from tests.factories.notices import Secret
from tests.journeys.dashboard import CallContacts, Sweep, SyncEmail, add

KINDS = (SyncEmail.kind, CallContacts.kind, Secret.kind, Sweep.kind, "of.a.newer.release")
PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
hours = st.sampled_from((0, 23, 25))
row = st.tuples(st.sampled_from(KINDS), st.sampled_from(JobState), st.booleans(), st.booleans(), hours, st.integers(1, 3))
Row = tuple[str, JobState, bool, bool, int, int]


@PROPERTY
@given(st.lists(row, max_size=12))
async def test_counts_are_those_of_the_rows(engine: Engine, rows: list[Row]) -> None:
    account_id, expected = await engine.account(), Counter[tuple[str, StatusGroup]]()
    async with engine.database.account(account_id) as session:
        unit = Unit(session, actors.system(account_id))
        for kind, state, paused, archived, age, count in rows:
            now = sa.func.now()
            values: dict[str, Any] = {"paused_at": now if paused else None, "archived_at": now if archived else None}
            if state in TERMINAL:
                values["finished_at"] = sa.func.now() - timedelta(hours=age)
            await add(unit, kind, state, count, **values)
            if not archived and kind != Sweep.kind and (state not in TERMINAL or age < 24):
                expected[kind, group_of(state, paused=paused)] += count
        found = await summary.summarize(unit)
        assert {
            (kind, group): counts[group] for kind, counts in found.kinds for group in StatusGroup if counts[group]
        } == expected
        for group in StatusGroup:
            assert found.total[group] == sum(count for (_, each), count in expected.items() if each is group)
        jobs = list(await session.scalars(queries.filtered(unit, JobFilter(housekeeping=True))))
        for group in StatusGroup:
            fitting = queries.filtered(unit, JobFilter(groups=frozenset({group}), housekeeping=True))
            members = {job.id for job in jobs if group_of(job.state, paused=job.paused_at is not None) is group}
            assert set(await session.scalars(fitting.with_only_columns(Job.id))) == members


def test_every_kind_that_somebody_lacks_the_scope_for_is_hidden() -> None:
    assert Secret.kind in hidden_kinds(frozenset())
    assert Secret.kind not in hidden_kinds(frozenset(actors.Scope))


def test_equal_filters_give_equal_texts() -> None:
    numbers = list(map(str, range(50)))
    one = JobFilter(states=frozenset(JobState), kinds=frozenset(numbers), priorities=frozenset(JobPriority))
    other = JobFilter(
        states=frozenset(reversed(JobState)), kinds=frozenset(reversed(numbers)), priorities=frozenset(reversed(JobPriority))
    )
    assert filter_to_json(one) == filter_to_json(other)
    assert filter_from_json(filter_to_json(one)) == one


def test_a_filter_of_a_newer_release_is_refused_and_never_widened() -> None:
    stored = orjson.loads(filter_to_json(JobFilter(kinds=frozenset({"a"}))))
    for newer in ({**stored, "colour": "red"}, {**stored, "states": ["teleported"]}):
        with pytest.raises(UnreadableArgs):
            filter_from_json(orjson.dumps(newer).decode())
