"""An account's jobs as CSV: all that a list with the same filter shows, as a job of its own.

Rows are read page by page in the order in which they were asked for, which nothing changes later; so each job is written once,
however long the export takes and whatever happens meanwhile. Jobs that are asked for after the export are not in it.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from db.base import any_of
from db.models.crm.connections import Location
from db.models.jobs import Job, Lane
from db.models.tenancy import ActorType
from domain import ids
from domain.actor import Scope
from domain.errors import NotFound
from domain.jobs import commands, queries
from domain.jobs.args import JobArgs
from domain.jobs.queries import JobFilter, filtered, group_of
from domain.tenancy import idempotency
from domain.unit import Unit

KEPT: Final = timedelta(days=7)
MEDIA_TYPE: Final = "text/csv; charset=utf-8"
PAGE: Final = 1_000
# What spreadsheets take for a formula, and run.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER: Final = re.compile(r"\+?[0-9 ().-]+")  # a telephone's, say: does no harm


@dataclass(frozen=True)
class ExportJobs(JobArgs, kind="jobs.export", title="Export of jobs", lane=Lane.INTERACTIVE):
    """Write the jobs that fit `wanted`, the JSON of a JobFilter, and that whoever asked could see by their `scopes`."""

    wanted: str
    scopes: list[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is exported: jobs that were asked for before `as_of`, of which there are `total` at the beginning."""

    wanted: JobFilter
    as_of: datetime
    total: int

    @property
    def name(self) -> str:
        """Of the file."""
        return f"jobs-{self.as_of:%Y-%m-%d}.csv"


@dataclass(frozen=True, slots=True)
class Export:
    """An export as its job stands; `id` is the job's."""

    id: UUID
    job: Job


async def exports_by_ids(unit: Unit, wanted: Sequence[UUID]) -> list[Export | None]:
    """Exports in the order of their ids, None where there is none that the actor may see. Raises Forbidden."""
    found = await queries.jobs_by_ids(unit, wanted)
    return [None if job is None or job.kind != ExportJobs.kind else Export(job.id, job) for job in found]


async def start(unit: Unit, *, wanted: JobFilter, idempotency_key: str | None = None) -> Job:
    """Ask for an export. Raises Forbidden, KeyReused."""
    unit.require(Scope.JOBS_READ)
    stored = queries.filter_to_json(wanted)
    first = await idempotency.replay(unit, key=idempotency_key, operation="exportJobs", given={"filter": stored})
    if first is not None:
        found = await queries.get(unit, first)
        if found is None:
            raise NotFound("What was asked for with this key is not there any more.", field=("idempotencyKey",))
        return found
    job = (await commands.enqueue(unit, ExportJobs(wanted=stored, scopes=sorted(unit.actor.scopes)))).job
    unit.audit("jobs.export", subject_type="job", subject_id=job.id, filter=stored)
    await idempotency.remember(unit, key=idempotency_key, subject_id=job.id)
    return job


def scopes_of(args: ExportJobs) -> frozenset[Scope]:
    """The rights that whoever asked had, as far as this release knows them."""
    return frozenset(scope for scope in Scope if scope in args.scopes)


async def plan(unit: Unit, *, job_id: UUID, args: ExportJobs) -> Plan:
    """What the export has to write. The unit acts with the rights of whoever asked. Raises UnreadableArgs."""
    wanted = queries.filter_from_json(args.wanted)
    as_of = (await unit.session.execute(sa.select(Job.created_at).where(Job.id == job_id))).scalar_one()
    matching = _matching(unit, wanted, as_of).with_only_columns(Job.id).subquery()
    total = (await unit.session.execute(sa.select(sa.func.count()).select_from(matching))).scalar_one()
    return Plan(wanted, as_of, total)


async def page(unit: Unit, the: Plan, *, after: tuple[datetime, UUID] | None) -> list[list[Any]]:
    """The next rows in the order of COLUMNS, newest first; `position` of the last one leads to those that follow."""
    query = _matching(unit, the.wanted, the.as_of)
    if after is not None:
        query = query.where(sa.tuple_(Job.created_at, Job.id) < after)
    query = query.order_by(Job.created_at.desc(), Job.id.desc()).limit(PAGE)
    jobs = (await unit.session.execute(query.with_only_columns(*_READ))).all()
    spent = await queries.execution_times(unit, [job.id for job in jobs])
    places = {job.location_id for job in jobs if job.location_id is not None}
    named = sa.select(Location.id, Location.name).where(any_of(Location.id, places))
    names = dict((await unit.session.execute(named)).all()) if places else {}
    return [_row(job, time, names.get(job.location_id)) for job, time in zip(jobs, spent, strict=True)]


def position(row: Sequence[Any]) -> tuple[datetime, UUID]:
    """Where the rows after this one begin."""
    found = ids.decode(row[0])
    assert found is not None, "the first column is the id"  # noqa: S101 -- a fault of ours, never of a request
    return row[_CREATED], found[1]


def header() -> bytes:
    """The first line."""
    return render([COLUMNS])


def render(rows: Sequence[Sequence[Any]]) -> bytes:
    """Lines of CSV in UTF-8; times as ISO 8601 in UTC. No cell is one that a spreadsheet would run."""
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    match value:
        case str():
            return "'" + value if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return round(value.total_seconds(), 3)
        case dict() | list():
            return _cell(orjson.dumps(value).decode())
        case _:
            return value


def _matching(unit: Unit, wanted: JobFilter, as_of: datetime) -> "sa.Select[Job]":
    return filtered(unit, wanted).where(Job.created_at < as_of)


_READ = [
    getattr(Job, name)
    for name in (
        *("id", "kind", "title", "state", "lane", "priority", "version", "location_id"),
        *("created_at", "run_at", "started_at", "finished_at", "deadline_at", "paused_at", "archived_at", "expired_at"),
        *("attempt", "failures", "max_retries", "timeout_seconds", "waiting_for"),
        *("phase", "done", "total", "rate", "eta_at", "message", "result", "error_code", "error_message"),
        *("attention", "attention_at", "origin_type", "origin_id", "origin_name", "request_id"),
    )
]
COLUMNS: Final = (
    *("id", "kind", "title", "state", "status_group", "lane", "priority", "version", "sub_account_id", "sub_account"),
    *("created_at", "run_at", "started_at", "finished_at", "deadline_at", "paused_at", "archived_at", "expired_at"),
    *("duration_seconds", "execution_seconds", "attempts", "failures", "max_retries", "timeout_seconds", "waiting_for"),
    *("phase", "done", "total", "percent", "rate", "eta_at", "message", "result", "error_code", "error_message"),
    *("attention", "attention_at", "origin_type", "origin_id", "origin_name", "request_id"),
)
_ORIGINS: Final = {ActorType.USER: "user", ActorType.SUPPORT: "user", ActorType.API_KEY: "apikey"}
_CREATED: Final = COLUMNS.index("created_at")


def _row(job: Any, spent: timedelta, place: str | None) -> list[Any]:
    place_id = None if job.location_id is None else ids.encode("location", job.location_id)
    duration = None if job.started_at is None or job.finished_at is None else job.finished_at - job.started_at
    percent = None if not job.total else min(100.0, round(100 * job.done / job.total, 1))
    group = group_of(job.state, paused=job.paused_at is not None)
    return [
        *(ids.encode("job", job.id), job.kind, job.title, job.state.value, group.value, job.lane.value),
        *(job.priority, job.version, place_id, place),
        *(job.created_at, job.run_at, job.started_at, job.finished_at, job.deadline_at),
        *(job.paused_at, job.archived_at, job.expired_at, duration, spent),
        *(job.attempt, job.failures, job.max_retries, job.timeout_seconds, job.waiting_for),
        *(job.phase, job.done, job.total, percent, job.rate, job.eta_at, job.message, job.result),
        *(job.error_code, job.error_message, None if job.attention is None else job.attention.value, job.attention_at),
        *(job.origin_type.value, _origin_id(job), job.origin_name, job.request_id),
    ]


def _origin_id(job: Any) -> str | None:
    prefix = _ORIGINS.get(job.origin_type)
    return None if prefix is None or job.origin_id is None else ids.encode(prefix, job.origin_id)
