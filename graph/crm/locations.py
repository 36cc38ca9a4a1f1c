"""The sub-accounts of connected agencies: GoHighLevel calls them locations."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from db.models.crm import connections as models
from db.models.crm.contacts import CustomField as CustomFieldRow
from domain.crm.connections import commands
from domain.crm.contacts import queries
from domain.errors import Invalid
from domain.unit import Unit
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.enums import ConflictPolicy, LocationStatus, SyncDirection
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, mutation

if TYPE_CHECKING:
    from graph.crm.accounts import GhlAccount
    from graph.crm.syncs import SyncRun

_MAX_LOCATIONS = 100

loads("location", queries.locations_by_ids)


async def fields_by_location(unit: Unit, location_ids: list[UUID]) -> Sequence[dict[str, CustomFieldRow]]:
    """The definitions by external id, for each location."""
    found: dict[UUID, dict[str, CustomFieldRow]] = {location_id: {} for location_id in location_ids}
    for definition in await queries.custom_fields_of(unit, location_ids):
        found[definition.location_id][definition.external_id] = definition
    return [found[location_id] for location_id in location_ids]


@strawberry.type(description="A field that a sub-account has defined itself.")
class CustomField:
    external_id: str = about("GoHighLevel's id; for CustomFieldInput and CustomFieldFilterInput.")
    key: str = about("Its key, such as contact.favourite_colour.")
    name: str = about("Its name for people.")
    data_type: str = about("GoHighLevel's type, such as TEXT, DATE, MULTIPLE_OPTIONS.")
    options: list[str] = about("What can be chosen, where the type has options.")


@strawberry.type(description="A sub-account of an agency: GoHighLevel calls it a location.")
class GhlLocation(Node):
    id: strawberry.ID = global_id("location")
    external_id: str = about("GoHighLevel's id.")
    name: str = about("As GoHighLevel has it.")
    time_zone: str | None = about("IANA name, such as America/Chicago.")
    status: LocationStatus = about("Whether it is chosen for syncing.")
    direction: SyncDirection = about("Which side a sync writes, unless the sync is asked otherwise.")
    policy: ConflictPolicy = about("Whose value stays on a conflict, unless the sync is asked otherwise.")
    only_tags: list[str] = about("Only contacts with one of these tags are synced; empty: all.")
    synced_at: datetime | None = about("When a contact sync last ended well; null: not yet synced. UTC.")
    version: int = about("For `expectedVersion`; rises with every change.")

    is_type_of = stands_for(models.Location)

    @resolved("The agency that it belongs to.", Annotated["GhlAccount", strawberry.lazy("graph.crm.accounts")] | None)
    async def account(root: strawberry.Parent[models.Location], info: Info) -> Any:
        """Gathered for all locations of the answer."""
        return await info.context.loader(queries.connections_by_ids).load(root.connection_id)

    @resolved("Its own fields by name, as of the last sync.", list[CustomField] | None)
    async def custom_fields(root: strawberry.Parent[models.Location], info: Info) -> Any:
        """Gathered for all locations of the answer."""
        return list((await info.context.loader(fields_by_location).load(root.id)).values())

    @resolved(
        "Its syncs, newest first; the first one tells whether one is running.",
        Connection[Annotated["SyncRun", strawberry.lazy("graph.crm.syncs")]] | None,
    )
    async def sync_runs(
        root: strawberry.Parent[models.Location],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """The history."""
        async with info.context.unit() as unit:
            page = await queries.runs_page(unit, location_id=root.id, window=window(first, after, last, before))
        return Listing(page)


@strawberry.input(description="Which sub-accounts to sync, and how. What is not given stays.")
class UpdateGhlLocationsInput:
    ids: list[strawberry.ID] = about("Up to 100 sub-accounts.")
    active: bool | None = optional("Chosen for syncing or not.")
    direction: SyncDirection | None = optional("Which side a sync writes.")
    policy: ConflictPolicy | None = optional("Whose value stays on a conflict.")
    only_tags: list[str] | None = optional("Only contacts with one of these tags; an empty list: all.")
    expected_version: int | None = optional("For a single sub-account: the version that the change is based on.")


@strawberry.type(description="What came of a change to sub-accounts.")
class GhlLocationsPayload(Payload):
    locations: list[GhlLocation] = strawberry.field(
        default_factory=list, description="As they are now; empty when nothing was done."
    )


@strawberry.type
class GhlLocationsQuery:
    @resolved("Sub-accounts of all agencies, by name. Needs connections:read.", Connection[GhlLocation] | None)
    async def ghl_locations(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """For choosing one."""
        async with info.context.unit() as unit:
            return Listing(await queries.locations_page(unit, connection_id=None, window=window(first, after, last, before)))


@strawberry.type
class GhlLocationsMutation:
    @mutation("Choose sub-accounts for syncing, and how; all of them or none. Needs connections:write.")
    async def update_ghl_locations(
        self, info: Info, input: Annotated[UpdateGhlLocationsInput, strawberry.argument(description="The change.")]
    ) -> GhlLocationsPayload:
        if not 1 <= len(input.ids) <= _MAX_LOCATIONS:
            raise Invalid(f"Name 1 to {_MAX_LOCATIONS} sub-accounts.", field=("ids",))
        async with info.context.unit() as unit:
            locations = [
                await commands.update_location(
                    unit,
                    location_id=ids.read("location", location_id, field="ids"),
                    expected_version=input.expected_version,
                    active=input.active,
                    direction=input.direction,
                    policy=input.policy,
                    only_tags=input.only_tags,
                )
                for location_id in input.ids
            ]
        return GhlLocationsPayload(locations=shown(locations))
