"""Reports as CSV: read page by page, so that memory does not grow with their length."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from db.models.crm.connections import Location
from db.models.crm.contacts import Contact
from db.models.jobs import Job
from db.models.workflows import ReportOf
from domain.crm.contacts import queries as contacts
from domain.crm.contacts.queries import ContactFilter
from domain.jobs import queries as jobs
from domain.jobs.export import render
from domain.jobs.queries import JobFilter
from domain.unit import Unit
from domain.workflows.steps import Report

_PAGE = 1_000
_UTF8 = b"\xef\xbb\xbf"  # by which Excel knows the encoding
_COLUMNS: dict[ReportOf, dict[str, Any]] = {
    ReportOf.CONTACTS: {
        "Name": Contact.display_name,
        "E-mail": Contact.email,
        "Telephone": Contact.phone,
        "Company": Contact.company,
        "Tags": sa.func.array_to_string(Contact.tags, ", "),
        "Source": Contact.source,
        "Sub-account": sa.select(Location.name).where(Location.id == Contact.location_id).scalar_subquery(),
        "Created at": Contact.created_at,
    },
    ReportOf.JOBS: {
        "Title": Job.title,
        "Kind": Job.kind,
        "State": Job.state,
        "Asked for by": Job.origin_name,
        "Created at": Job.created_at,
        "Started at": Job.started_at,
        "Finished at": Job.finished_at,
        "Attempts": Job.attempt,
        "Error": Job.error_code,
        "Message": Job.message,
    },
}


async def written(
    open_unit: Callable[[], AbstractAsyncContextManager[Unit]], report: Report, *, since: datetime, until: datetime
) -> AsyncIterator[bytes]:
    """The CSV of what came from `since` until before `until`, oldest first, as far as the units' actor may see it."""
    columns = _COLUMNS[report.of]
    row_of: Any = Contact if report.of is ReportOf.CONTACTS else Job
    key = sa.tuple_(row_of.created_at, row_of.id)
    yield _UTF8 + render([list(columns)])
    after: tuple[Any, ...] | None = None
    while True:
        async with open_unit() as unit:
            query = _listed(unit, report).where(row_of.created_at >= since, row_of.created_at < until)
            query = query if after is None else query.where(key > after)
            page = query.with_only_columns(row_of.created_at, row_of.id, *columns.values(), maintain_column_froms=True)
            rows = (await unit.session.execute(page.order_by(row_of.created_at, row_of.id).limit(_PAGE))).all()
        if rows:
            yield render([row[2:] for row in rows])
        if len(rows) < _PAGE:
            return
        after = tuple(rows[-1][:2])


def _listed(unit: Unit, report: Report) -> Any:
    """As the lists of the same things show them."""
    if report.of is ReportOf.CONTACTS:
        return contacts.filtered(unit, ContactFilter(location_id=report.location_id))
    return jobs.filtered(unit, JobFilter(location_id=report.location_id))
