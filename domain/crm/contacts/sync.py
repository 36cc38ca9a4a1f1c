"""A sync of one location's contacts: asked for here, carried out page by page, and remembered as a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from db.base import new_id
from db.models.crm.connections import Connection, ConnectionStatus, Location, LocationStatus
from db.models.crm.contacts import Contact, ContactRef, ContactSyncState, CustomField
from db.models.crm.syncs import ConflictPolicy, SyncDirection, SyncRun
from db.models.jobs import Job, Lane, LogLevel
from domain.actor import Scope
from domain.crm.connections.app import GhlApp, LocationNotFound, ReauthorizationRequired
from domain.crm.connections.commands import clean_tags
from domain.crm.contacts import book as books
from domain.crm.contacts import changes, pages, rules
from domain.crm.contacts.rules import Incoming, Unusable
from domain.errors import Conflict
from domain.jobs import commands as jobs
from domain.jobs.args import JobArgs
from domain.jobs.running import Running
from domain.tenancy import idempotency
from domain.unit import Unit
from domain.vendors.gohighlevel.client import GoHighLevel
from domain.vendors.gohighlevel.contacts import ContactPage
from domain.vendors.gohighlevel.wire import WireCustomField

PULLS = frozenset({SyncDirection.GHL_TO_BB, SyncDirection.BIDIRECTIONAL})
PUSHES = frozenset({SyncDirection.BB_TO_GHL, SyncDirection.BIDIRECTIONAL})


@dataclass(frozen=True)
class SyncContacts(
    JobArgs,
    kind="crm.contacts.sync",
    title="Contact sync",
    lane=Lane.BULK,
    timeout=6 * 3600,
    seen_with=Scope.CONTACTS_READ,
):
    """Sync the contacts of a location as its run says."""

    run_id: UUID

    async def changes(self, unit: Unit, job: Job) -> list[str]:
        """Settings of the location that were changed since. Raises SubjectGone."""
        return await changes.since(unit, job, run_id=self.run_id)

    async def accept(self, unit: Unit, job: Job) -> None:  # noqa: ARG002 -- the run has what is asked for
        """Run with the location's settings as they are now."""
        await changes.accept(unit, run_id=self.run_id)


class SyncAlreadyRunning(Conflict):
    """The location's contacts are being synced: `job` is that sync."""

    code = "GHL-020"

    def __init__(self, job: Job) -> None:
        super().__init__("The contacts of this sub-account are being synced already.")
        self.job = job


@dataclass(frozen=True, slots=True)
class Plan:
    """What a handler needs to carry a run out."""

    run: SyncRun
    location: Location
    client: GoHighLevel

    @property
    def pulls(self) -> bool:
        """Whether our side is written."""
        return self.run.direction in PULLS

    @property
    def pushes(self) -> bool:
        """Whether the vendor's side is written."""
        return self.run.direction in PUSHES


async def start(
    unit: Unit,
    *,
    location_id: UUID,
    direction: SyncDirection | None = None,
    policy: ConflictPolicy | None = None,
    only_tags: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> SyncRun:
    """Ask for a sync; what is None is taken from the location's settings. Needs an active connection.

    Raises Forbidden, LocationNotFound, Conflict, SyncAlreadyRunning, ReauthorizationRequired, KeyReused.
    """
    unit.require(Scope.CONTACTS_WRITE)
    given = {
        "location": location_id,
        "direction": direction,
        "policy": policy,
        "tags": None if only_tags is None else list(only_tags),
    }
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="startContactSync", given=given)
    if replayed is not None:
        return (await unit.session.scalars(sa.select(SyncRun).where(SyncRun.id == replayed))).one()
    location = await ready_location(unit, location_id)
    run_id = new_id()
    enqueued = await jobs.enqueue(
        unit,
        SyncContacts(run_id=run_id),
        location_id=location.id,
        dedupe_key=f"crm.contacts.sync:{location.id}",
        title=f"Contact sync of {location.name}",
    )
    if not enqueued.is_new:
        raise SyncAlreadyRunning(enqueued.job)
    run = SyncRun(
        id=run_id,
        account_id=unit.account_id,
        location_id=location.id,
        job_id=enqueued.job.id,
        direction=direction or location.direction,
        policy=policy or location.policy,
        only_tags=clean_tags(location.only_tags if only_tags is None else only_tags),
    )
    unit.session.add(run)
    await unit.session.execute(
        sa.update(Location)
        .where(Location.id == location.id, Location.status == LocationStatus.AVAILABLE)
        .values(status=LocationStatus.ACTIVE, version=Location.version + 1)
    )
    await idempotency.remember(unit, key=idempotency_key, subject_id=run.id)
    unit.audit(
        "contact_sync.start",
        subject_type="sync_run",
        subject_id=run.id,
        direction=run.direction,
        policy=run.policy,
        only_tags=run.only_tags,
    )
    await unit.session.flush()
    return run


async def plan(unit: Unit, app: GhlApp, *, run_id: UUID) -> Plan:
    """Everything that a run was asked to do. Raises LocationNotFound, ReauthorizationRequired."""
    run = (await unit.session.scalars(sa.select(SyncRun).where(SyncRun.id == run_id))).one()
    location = await ready_location(unit, run.location_id)
    return Plan(run, location, app.location(unit.account_id, location))


async def keep_custom_fields(unit: Unit, *, location_id: UUID, fields: Sequence[WireCustomField]) -> None:
    """Make the location's definitions of custom fields like the vendor's."""
    by_id = {_plain(field["id"]): field for field in fields if field.get("id") and field.get("model", "contact") == "contact"}
    await unit.session.execute(sa.delete(CustomField).where(CustomField.location_id == location_id))
    rows = [
        {
            "account_id": unit.account_id,
            "location_id": location_id,
            "external_id": external_id,
            "key": _plain(field.get("fieldKey") or external_id),
            "name": _plain(field.get("name") or external_id),
            "data_type": _plain(field.get("dataType") or "TEXT"),
            "options": [_plain(option) for option in field.get("picklistOptions") or ()],
        }
        for external_id, field in by_id.items()
    ]
    if rows:
        await unit.session.execute(sa.insert(CustomField), rows)


async def keep_page(job: Running[SyncContacts], unit: Unit, the: Plan, page: ContactPage) -> None:
    """Take a page in: skip and log what is unusable, merge the rest, count."""
    usable: list[Incoming] = []
    skipped: list[Unusable] = [
        Unusable(_plain(external_id)[:64], "locationId", "GoHighLevel sent a contact of another sub-account; it was not kept.")
        for external_id in page.foreign
    ]
    holds_nul = "\\u0000" in orjson.dumps(page.contacts).decode()
    for wire in page.contacts:
        try:
            usable.append(rules.from_wire(wire, check_nul=holds_nul))
        except Unusable as unusable:
            skipped.append(unusable)
    tally = await pages.take_in(
        unit, usable, location_id=the.location.id, run_id=the.run.id, policy=the.run.policy, writes_here=the.pulls
    )
    for problem in skipped:
        job.log(
            unit,
            level=LogLevel.WARNING,
            code="GHL-021",
            message=f"Skipped: {problem.message}",
            subject=problem.external_id,
            field=".".join(problem.field or ()),
        )
    for conflict in tally.conflicts:
        fields = ", ".join(conflict.fields)
        message = f"Both sides had changed {fields}; decided by the policy {the.run.policy.value}."
        job.log(unit, level=LogLevel.INFO, code="GHL-003", message=message, subject=conflict.external_id, field=fields)
    await count(
        unit,
        the.run.id,
        created=tally.created,
        updated=tally.updated,
        unchanged=tally.unchanged,
        merged=tally.merged,
        conflicts=len(tally.conflicts),
        skipped=len(skipped) + page.malformed,
    )


async def count(unit: Unit, run_id: UUID, **more: int) -> None:
    """Add to a run's figures."""
    added = {name: getattr(SyncRun, name) + number for name, number in more.items() if number}
    if added:
        await unit.session.execute(
            sa.update(SyncRun).where(SyncRun.id == run_id).values(added).execution_options(synchronize_session=False)
        )


async def unseen(unit: Unit, *, the: Plan, after: str, limit: int) -> list[str]:
    """The vendor's ids of contacts that a complete run did not meet, by id: deleted there, or missed by its search."""
    query = sa.select(ContactRef.external_id).where(
        ContactRef.location_id == the.location.id,
        ContactRef.seen_run.is_distinct_from(the.run.id),
        ContactRef.seen_at < the.run.created_at,
        ContactRef.missing_since.is_(None),
        ContactRef.external_id > after,
    )
    return list((await unit.session.scalars(query.order_by(ContactRef.external_id).limit(limit))).all())


async def mark_missing(unit: Unit, *, location_id: UUID, external_ids: Sequence[str]) -> int:
    """Keep that contacts were deleted at the vendor; returns how many were not known as such.

    Ours stay. Where a duplicate of theirs is left there, the newest one leads from now on; else ours is marked.
    """
    await books.lock(unit, location_id=location_id)
    gone = (
        sa.update(ContactRef)
        .where(ContactRef.location_id == location_id, ContactRef.external_id.in_(external_ids))
        .where(ContactRef.missing_since.is_(None))
        .values(missing_since=sa.func.now(), is_primary=False)
        .returning(ContactRef.contact_id)
        .execution_options(synchronize_session=False)
    )
    contacts = set((await unit.session.scalars(gone)).all())
    living = sa.and_(ContactRef.contact_id.in_(contacts), ContactRef.missing_since.is_(None))
    led = sa.select(ContactRef.contact_id).where(living, ContactRef.is_primary)
    newest = (
        sa.select(ContactRef.external_id)
        .where(living, ContactRef.location_id == location_id, ContactRef.contact_id.not_in(led))
        .ext(distinct_on(ContactRef.contact_id))
        .order_by(ContactRef.contact_id, ContactRef.remote_modified_at.desc().nulls_last())
    )
    await unit.session.execute(
        sa.update(ContactRef)
        .where(ContactRef.location_id == location_id, ContactRef.external_id.in_(newest))
        .values(is_primary=True)
        .execution_options(synchronize_session=False)
    )
    alive = sa.select(ContactRef.contact_id).where(living)
    await unit.session.execute(
        sa.update(Contact)
        .where(Contact.id.in_(contacts), Contact.id.not_in(alive))
        .values(sync_state=ContactSyncState.REMOTE_DELETED, version=Contact.version + 1)
        .execution_options(synchronize_session=False)
    )
    return len(contacts)


async def finish(unit: Unit, *, run_id: UUID) -> SyncRun:
    """Remember when the location was last synced to the end; returns the run with its figures."""
    run = (
        await unit.session.scalars(
            sa.select(SyncRun).where(SyncRun.id == run_id), execution_options={"populate_existing": True}
        )
    ).one()
    await unit.session.execute(
        sa.update(Location)
        .where(Location.id == run.location_id)
        .values(synced_at=sa.func.now())
        .execution_options(synchronize_session=False)
    )
    unit.changed("location", run.location_id)
    return run


async def ready_location(unit: Unit, location_id: UUID) -> Location:
    """A location whose vendor can be spoken to. Raises LocationNotFound, ReauthorizationRequired, Conflict."""
    query = sa.select(Location, Connection).join(Connection, Connection.id == Location.connection_id)
    row = (await unit.session.execute(query.where(Location.id == location_id))).one_or_none()
    if row is None:
        raise LocationNotFound("There is no such sub-account.", field=("locationId",))
    location, connection = row
    if connection.status is ConnectionStatus.DISCONNECTED or location.status is LocationStatus.REMOVED:
        raise LocationNotFound("This sub-account is not connected any more.", field=("locationId",))
    if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        raise ReauthorizationRequired("This agency must be connected again first.", connection_id=connection.id)
    if connection.status is ConnectionStatus.SUSPENDED:
        raise Conflict("This agency is suspended at GoHighLevel.", field=("locationId",))
    return location


def _plain(value: object) -> str:
    """The vendor's value as a text that PostgreSQL can keep."""
    return str(value).replace("\x00", "")
