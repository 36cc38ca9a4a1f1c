"""Rows for tests that are not about how they came: written in a unit of the product itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.base import new_id
from db.models.crm.connections import Connection, ConnectionStatus, Location, LocationStatus
from db.models.crm.contacts import Contact, ContactRef, ContactSource, ContactSyncState, CustomField
from db.models.jobs import AttemptOutcome, Job, JobAttempt, Lane
from domain import actor as actors
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.unit import Unit
from graph import ids
from tests.factories.client import Client
from tests.factories.house import House

FIELD = "fld_colour"


@dataclass(frozen=True)
class Plain(JobArgs, kind="test.plain", title="A job", lane=Lane.INTERACTIVE):
    """Is never run."""


@asynccontextmanager
async def unit_of(house: House, account_id: UUID) -> AsyncIterator[Unit]:
    """A unit of the account with every right."""
    async with house.runtime.unit(actors.system(account_id)) as unit:
        yield unit


async def add_location(unit: Unit, *, name: str = "Boston Dental", external_id: str = "loc-1") -> Location:
    """A location of a connected agency, with one custom field."""
    connection = Connection(
        account_id=unit.account_id,
        company_id=f"company-{new_id()}",
        name="Bright Agency",
        user_type="Company",
        status=ConnectionStatus.ACTIVE,
        scopes=["contacts.readonly"],
    )
    unit.session.add(connection)
    await unit.session.flush()
    location = Location(
        account_id=unit.account_id,
        connection_id=connection.id,
        external_id=external_id,
        name=name,
        status=LocationStatus.ACTIVE,
    )
    unit.session.add(location)
    await unit.session.flush()
    field = {"key": "contact.colour", "name": "Colour", "data_type": "TEXT", "options": []}
    unit.session.add(CustomField(account_id=unit.account_id, location_id=location.id, external_id=FIELD, **field))
    await unit.session.flush()
    return location


async def add_contact(unit: Unit, location: Location, *, name: str = "Ada Lovelace", **values: Any) -> Contact:
    """A synced contact with its counterpart."""
    contact = Contact(
        id=new_id(),
        account_id=unit.account_id,
        location_id=location.id,
        source=ContactSource.GHL,
        sync_state=ContactSyncState.SYNCED,
        display_name=name,
        **{"custom_fields": {FIELD: "blue"}, **values},
    )
    unit.session.add(contact)
    await unit.session.flush()
    unit.session.add(
        ContactRef(
            account_id=unit.account_id,
            location_id=location.id,
            external_id=f"ghl-{contact.id}",
            contact_id=contact.id,
            base={},
            synced_version=1,
        )
    )
    await unit.session.flush()
    return contact


async def add_job(unit: Unit, *, title: str = "A job", attempts: int = 0, location_id: UUID | None = None) -> Job:
    """A job that is ready, with attempts that failed."""
    job = (await commands.enqueue(unit, Plain(), title=title, location_id=location_id)).job
    for number in range(1, attempts + 1):
        unit.session.add(
            JobAttempt(
                account_id=unit.account_id,
                job_id=job.id,
                number=number,
                fence=number,
                worker="test",
                outcome=AttemptOutcome.FAILED,
            )
        )
    await unit.session.flush()
    assert job.lane is Lane.INTERACTIVE
    return job


async def account_id_of(client: Client) -> UUID:
    """The account that a client acts in."""
    found = ids.decode((await client.ask("{ viewer { account { id } } }"))["viewer"]["account"]["id"])
    assert found is not None
    return found[1]


def gid(prefix: str, row: Any) -> str:
    """The global id of a row."""
    return ids.encode(prefix, row.id)
