"""Reports: every row once, page by page, and nothing of what must not be in them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.base import new_id
from db.models.workflows import ReportOf
from domain import actor as actors
from domain.jobs.args import UnreadableArgs
from domain.jobs.retention import Retain
from domain.workflows import reports
from domain.workflows.steps import Notify, Report, Step, SyncJob, Wait, from_json, to_json
from tests.factories.engine import Engine, Scripted


async def lines(engine: Engine, actor: actors.Actor, *, since: datetime, until: datetime) -> list[str]:
    report = Report(ReportOf.JOBS, days=1)
    chunks = reports.written(lambda: engine.runtime.unit(actor), report, since=since, until=until)
    return b"".join([chunk async for chunk in chunks]).decode("utf-8-sig").splitlines()


async def test_every_job_once_over_many_pages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_PAGE", 7)
    account_id, other = await engine.account(), await engine.account()
    titles = [f"Job {number:02}" for number in range(30)]
    for title in titles:
        await engine.enqueue(account_id, Scripted(), title=title)
    await engine.enqueue(other, Scripted(), title="Of another account")
    await engine.enqueue(account_id, Retain())  # the product's own
    await engine.enqueue(account_id, Scripted(), title="=cmd()")
    # Many at the same moment: the key of a page is more than the time.
    await engine.sql("update job set created_at = date_trunc('hour', created_at) where title like 'Job 1%'")
    now = datetime.now(UTC)
    header, *rows = await lines(engine, actors.system(account_id), since=now - timedelta(hours=2), until=now)
    assert header.startswith("Title,Kind,State,")
    assert sorted(row.partition(",")[0] for row in rows) == ["'=cmd()", *titles]
    assert await lines(engine, actors.system(account_id), since=now, until=now) == [header]


def test_steps_are_read_as_they_were_written() -> None:
    location_id = new_id()
    steps: list[Step] = [
        Report(ReportOf.CONTACTS, 7, None),
        Report(ReportOf.JOBS, 1, location_id),
        SyncJob(location_id),
        Notify(("a@b.example",), "Subject", "Text"),
        Wait(5),
    ]
    assert from_json(to_json(steps)) == steps


@pytest.mark.parametrize("newer", [{"teleport": {"to": "x"}}, {"report": {"of": "colours", "days": 1}}, {"wait": {}}, {}])
def test_a_step_of_a_newer_release_is_left_to_that_release(newer: dict[str, Any]) -> None:
    with pytest.raises(UnreadableArgs):
        from_json([newer])
