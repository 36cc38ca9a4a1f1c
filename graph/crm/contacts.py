"""Contacts: finding, making and changing them."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.models.crm import contacts as models
from domain.crm.contacts import commands, queries
from domain.crm.contacts.queries import ContactFilter
from domain.unit import Unit
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info, selects
from graph.crm.locations import GhlLocation, fields_by_location
from graph.enums import ContactOrder, ContactSource, ContactSyncState
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, mutation

loads("contact", queries.contacts_by_ids)


async def refs_by_contact(unit: Unit, contact_ids: list[UUID]) -> Sequence[list[models.ContactRef]]:
    """One list for each contact."""
    found: dict[UUID, list[models.ContactRef]] = {contact_id: [] for contact_id in contact_ids}
    for ref in await queries.refs_of(unit, contact_ids):
        found[ref.contact_id].append(ref)
    return [found[contact_id] for contact_id in contact_ids]


@strawberry.type(description="A contact's counterpart at GoHighLevel.")
class ContactRef:
    external_id: str = about("GoHighLevel's id.")
    is_primary: bool = about("Whether changes are written to this one; duplicates there have more than one.")
    remote_modified_at: datetime | None = about("When GoHighLevel last changed it. UTC.")
    seen_at: datetime = about("When it was last seen there. UTC.")
    missing_since: datetime | None = about("Since when it is gone there; null while it exists. UTC.")


@strawberry.type(description="A value of a field that the sub-account has defined itself.")
class CustomFieldValue:
    id: str = about("GoHighLevel's id of the field.")
    key: str | None = about("Its key, such as contact.favourite_colour; null if the definition is gone.")
    name: str | None = about("Its name for people.")
    data_type: str | None = about("GoHighLevel's type, such as TEXT, DATE, MULTIPLE_OPTIONS.")
    value: JSON = about("A text, number, list or object, as the type has it.")


@strawberry.type(description="A person in a sub-account's address book.")
class Contact(Node):
    id: strawberry.ID = global_id("contact")
    display_name: str = about("The name, or else whatever tells the person best.")
    first_name: str | None = about("Given name.")
    last_name: str | None = about("Family name.")
    email: str | None = about("Lower case.")
    other_emails: list[str] = about("Of duplicates that were merged into this contact.")
    phone: str | None = about("E.164, such as +15125550123.")
    other_phones: list[str] = about("Of duplicates that were merged into this contact.")
    company: str | None = about("The company's name.")
    website: str | None = about("An address on the web.")
    street: str | None = about("Street and number.")
    city: str | None = about("City.")
    region: str | None = about("State or region.")
    postal_code: str | None = about("Postal code.")
    country: str | None = about("ISO 3166 code where GoHighLevel has one.")
    time_zone: str | None = about("IANA name.")
    birthday: date | None = about("Date of birth.")
    origin: str | None = about("GoHighLevel's source: the form or campaign that brought the contact.")
    assigned_to: str | None = about("GoHighLevel's id of the user in charge.")
    do_not_disturb: bool = about("Whether the person wants no messages.")
    tags: list[str] = about("Lower case, in order.")
    source: ContactSource = about("Where it was first known: the icon of the list.")
    sync_state: ContactSyncState = about("Whether both sides have the same.")
    version: int = about("For `expectedVersion`; rises with every change.")
    modified_at: datetime = about("When its data last changed on either side. UTC.")
    created_at: datetime = about("When it came here. UTC.")

    is_type_of = stands_for(models.Contact)

    @resolved("Values of the sub-account's own fields, by name.", list[CustomFieldValue] | None)
    def custom_fields(root: strawberry.Parent[models.Contact], info: Info) -> Any:
        """Lists of contacts have prepared the definitions; else they are gathered for all contacts of the answer."""
        if not root.custom_fields:
            return []
        known = info.context.prepared(fields_by_location, root.location_id)
        return _custom_values_later(root, info) if known is None else _custom_values(root, known)

    @resolved("Its counterparts at GoHighLevel, the one that is written to first.", list[ContactRef] | None)
    async def refs(root: strawberry.Parent[models.Contact], info: Info) -> Any:
        """Gathered for all contacts of the answer."""
        return await info.context.loader(refs_by_contact).load(root.id)

    @resolved("The sub-account that it belongs to.", GhlLocation | None)
    async def location(root: strawberry.Parent[models.Contact], info: Info) -> Any:
        """Gathered for all contacts of the answer."""
        return await info.context.loader(queries.locations_by_ids).load(root.location_id)


@strawberry.input(description="A value of one of the sub-account's own fields.")
class CustomFieldFilterInput:
    id: str = about("GoHighLevel's id of the field.")
    value: str = about("What it must be, exactly.")


@strawberry.input(description="Which contacts. All that is given must hold.")
class ContactFilterInput:
    text: str | None = optional("Words looked for in name, e-mail, telephone and company, in any case of letters.")
    location_id: strawberry.ID | None = optional("Of this sub-account.")
    email: str | None = optional("Exactly this, in any case of letters; other addresses of the person count.")
    phone: str | None = optional("Exactly this, E.164; other numbers of the person count.")
    tags: list[str] | None = optional("With all of these.")
    source: ContactSource | None = optional("First known there.")
    sync_states: list[ContactSyncState] | None = optional("In any of these states.")
    custom_field: CustomFieldFilterInput | None = optional("With this value.")

    def to_domain(self) -> ContactFilter:
        """Raises Invalid for an id of another type."""
        return ContactFilter(
            text=self.text,
            location_id=None if self.location_id is None else ids.read("location", self.location_id, field="locationId"),
            email=self.email,
            phone=self.phone,
            tags=self.tags or (),
            source=self.source,
            sync_states=self.sync_states or (),
            custom_field=None if self.custom_field is None else (self.custom_field.id, self.custom_field.value),
        )


@strawberry.input(description="A custom field to set; a null value empties it.")
class CustomFieldInput:
    id: str = about("GoHighLevel's id of the field.")
    value: JSON | None = optional("As the field's type has it.")


@strawberry.input(description="A contact's data. What is not given stays as it is; null empties.")
class ContactFieldsInput:
    first_name: str | None = strawberry.field(default=strawberry.UNSET, description="Given name.")
    last_name: str | None = strawberry.field(default=strawberry.UNSET, description="Family name.")
    email: str | None = strawberry.field(default=strawberry.UNSET, description="Checked, and kept in lower case.")
    phone: str | None = strawberry.field(
        default=strawberry.UNSET, description="Any notation; kept as E.164. National ones: US."
    )
    company: str | None = strawberry.field(default=strawberry.UNSET, description="The company's name.")
    website: str | None = strawberry.field(default=strawberry.UNSET, description="An address on the web.")
    street: str | None = strawberry.field(default=strawberry.UNSET, description="Street and number.")
    city: str | None = strawberry.field(default=strawberry.UNSET, description="City.")
    region: str | None = strawberry.field(default=strawberry.UNSET, description="State or region.")
    postal_code: str | None = strawberry.field(default=strawberry.UNSET, description="Postal code.")
    country: str | None = strawberry.field(default=strawberry.UNSET, description="ISO 3166 code.")
    time_zone: str | None = strawberry.field(default=strawberry.UNSET, description="IANA name.")
    birthday: date | None = strawberry.field(default=strawberry.UNSET, description="Date of birth.")
    tags: list[str] | None = strawberry.field(default=strawberry.UNSET, description="Replaces all tags.")
    custom_fields: list[CustomFieldInput] | None = strawberry.field(
        default=strawberry.UNSET, description="Each is set by itself; others stay."
    )

    def to_domain(self) -> dict[str, Any]:
        """The given fields."""
        given = {name: value for name, value in vars(self).items() if value is not strawberry.UNSET}
        if given.get("custom_fields"):
            given["custom_fields"] = {field.id: field.value for field in given["custom_fields"]}
        return given


@strawberry.input(description="A contact to make.")
class CreateContactInput:
    location_id: strawberry.ID = about("The sub-account.")
    fields: ContactFieldsInput = about("Its data.")
    idempotency_key: str | None = optional("Made by the client: the same key makes one contact, however often it is sent.")


@strawberry.input(description="A change to a contact.")
class UpdateContactInput:
    id: strawberry.ID = about("The contact.")
    expected_version: int = about("The version that the change is based on.")
    fields: ContactFieldsInput = about("What changes.")


@strawberry.type(description="What came of a change to a contact.")
class ContactPayload(Payload):
    contact: Contact | None = optional("As it is now; null when nothing was done.")


@strawberry.type
class ContactsQuery:
    @resolved("One contact; null where there is none of this id.", Contact | None)
    async def contact(self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The contact.")]) -> Any:
        """Another account's is none."""
        found = ids.find("contact", id)
        return None if found is None else await info.context.loader(queries.contacts_by_ids).load(found)

    @resolved("Contacts. Needs contacts:read.", Connection[Contact] | None)
    async def contacts(
        self,
        info: Info,
        filter: Annotated[ContactFilterInput | None, strawberry.argument(description="Which ones.")] = None,
        order_by: Annotated[ContactOrder, strawberry.argument(description="In which order.")] = ContactOrder.NEWEST,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """A keyset page."""
        wanted = filter.to_domain() if filter is not None else ContactFilter()
        async with info.context.unit() as unit:
            page = await queries.contacts_page(unit, wanted=wanted, order=order_by, window=window(first, after, last, before))
            if selects(info, "customFields"):
                locations = {contact.location_id for contact in page.rows if contact.custom_fields}
                await info.context.prepare(fields_by_location, unit, list(locations))
        return Listing(page)


@strawberry.type
class ContactsMutation:
    @mutation("Make a contact. A sync that writes to GoHighLevel brings it there. Needs contacts:write.")
    async def create_contact(
        self, info: Info, input: Annotated[CreateContactInput, strawberry.argument(description="The contact.")]
    ) -> ContactPayload:
        location_id = ids.read("location", input.location_id, field="locationId")
        async with info.context.unit() as unit:
            contact = await commands.create(
                unit, location_id=location_id, fields=input.fields.to_domain(), idempotency_key=input.idempotency_key
            )
        return ContactPayload(contact=shown(contact))

    @mutation("Change a contact. A sync that writes to GoHighLevel brings it there. Needs contacts:write.")
    async def update_contact(
        self, info: Info, input: Annotated[UpdateContactInput, strawberry.argument(description="The change.")]
    ) -> ContactPayload:
        async with info.context.unit() as unit:
            contact = await commands.update(
                unit,
                contact_id=ids.read("contact", input.id, field="id"),
                expected_version=input.expected_version,
                fields=input.fields.to_domain(),
            )
        return ContactPayload(contact=shown(contact))


async def _custom_values_later(contact: models.Contact, info: Info) -> list[CustomFieldValue]:
    return _custom_values(contact, await info.context.loader(fields_by_location).load(contact.location_id))


def _custom_values(contact: models.Contact, known: Mapping[str, models.CustomField]) -> list[CustomFieldValue]:
    values = [_custom_value(key, value, known.get(key)) for key, value in contact.custom_fields.items()]
    return sorted(values, key=lambda item: item.name or item.id)


def _custom_value(key: str, value: Any, definition: models.CustomField | None) -> CustomFieldValue:
    return CustomFieldValue(
        id=key,
        key=definition.key if definition else None,
        name=definition.name if definition else None,
        data_type=definition.data_type if definition else None,
        value=value,
    )
