"""What the product's lists are compared with: strawberry over the ORM as its documentation shows it, without sign-in.

    python -m tests.bench.plain DATABASE_URL PORT

The same tables, the same fields, a session for each request, strawberry's own ASGI application, the same server under it.
"""

import sys
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

import sqlalchemy as sa
import strawberry
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.scalars import JSON
from strawberry.types import get_object_definition

from db.models import jobs as models
from db.models.crm import contacts as crm
from db.models.crm.contacts import ContactSource, ContactSyncState
from db.models.jobs import JobState, Lane

T = TypeVar("T")

for enum in (JobState, Lane, ContactSource, ContactSyncState):
    strawberry.enum(enum)


@strawberry.type
class Job:
    """Fifteen fields of a job."""

    id: strawberry.ID
    kind: str
    title: str
    state: JobState
    lane: Lane
    version: int
    priority: int
    attempt: int
    failures: int
    max_retries: int
    message: str | None
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: models.Job) -> Self:
        """Copied from the ORM's object."""
        return _copied(cls, row)


@strawberry.type
class CustomFieldValue:
    """A value of a custom field."""

    id: str
    name: str | None
    value: JSON


@strawberry.type
class Contact:
    """Fifteen fields of a contact."""

    id: strawberry.ID
    display_name: str
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    company: str | None
    city: str | None
    country: str | None
    tags: list[str]
    source: ContactSource
    sync_state: ContactSyncState
    version: int
    created_at: datetime
    custom_fields: list[CustomFieldValue]

    @classmethod
    def of(cls, row: crm.Contact, names: dict[str, str]) -> Self:
        """Copied from the ORM's object."""
        values = [CustomFieldValue(id=key, name=names.get(key), value=value) for key, value in row.custom_fields.items()]
        return _copied(cls, row, custom_fields=sorted(values, key=lambda value: value.name or value.id))


@strawberry.type
class PageInfo:
    """As in the product."""

    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class Jobs:
    """A page."""

    nodes: list[Job]
    page_info: PageInfo


@strawberry.type
class Contacts:
    """A page."""

    nodes: list[Contact]
    page_info: PageInfo


@strawberry.type
class Query:
    """The two lists."""

    @strawberry.field
    async def jobs(self, info: strawberry.Info, first: int = 50) -> Jobs:
        """Newest first."""
        model = models.Job
        query = sa.select(model).where(model.account_id == info.context["account"], model.archived_at.is_(None))
        query = query.order_by(model.created_at.desc(), model.id.desc()).limit(first + 1)
        async with info.context["session"]() as session:
            rows = list((await session.scalars(query)).all())
        nodes = [Job.of(row) for row in rows[:first]]
        return Jobs(nodes=nodes, page_info=PageInfo(has_next_page=len(rows) > first, end_cursor=nodes[-1].id))

    @strawberry.field
    async def contacts(self, info: strawberry.Info, first: int = 50) -> Contacts:
        """Newest first."""
        model = crm.Contact
        query = sa.select(model).where(model.account_id == info.context["account"])
        query = query.order_by(model.created_at.desc(), model.id.desc()).limit(first + 1)
        async with info.context["session"]() as session:
            rows = list((await session.scalars(query)).all())
            locations = {row.location_id for row in rows}
            fields = await session.scalars(sa.select(crm.CustomField).where(crm.CustomField.location_id.in_(locations)))
            names = {field.external_id: field.name for field in fields}
        nodes = [Contact.of(row, names) for row in rows[:first]]
        return Contacts(nodes=nodes, page_info=PageInfo(has_next_page=len(rows) > first, end_cursor=nodes[-1].id))


class App(GraphQL[Any, Any]):
    """Strawberry's own view, with a session in its context."""

    def __init__(self, engine: AsyncEngine, account: UUID) -> None:
        super().__init__(strawberry.Schema(query=Query))
        self._context = {"session": async_sessionmaker(engine, expire_on_commit=False), "account": account}

    async def get_context(self, request: Any, response: Any) -> Any:  # noqa: ARG002 - strawberry's signature
        """Called for each request."""
        return self._context


def _copied(kind: type[T], row: Any, **more: Any) -> T:
    names = [field.python_name for field in get_object_definition(kind, strict=True).fields if field.python_name not in more]
    values = {name: getattr(row, name) for name in names}
    return kind(**values | {"id": strawberry.ID(str(row.id))} | more)


def main() -> None:
    """Serve until the parent ends."""
    url, account, port = sys.argv[1:]
    engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"))
    app = Starlette(routes=[Route("/graphql", App(engine, UUID(account)))])
    uvicorn.run(app, port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
