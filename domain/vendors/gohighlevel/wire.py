"""What GoHighLevel sends, as it sends it. Nothing is promised: any key may be missing, null or of another type."""

from typing import Any, TypedDict


class WireFieldValue(TypedDict, total=False):
    """A custom field's value on a contact or an opportunity; written as `{"id", "field_value"}`, read as this."""

    id: str
    value: Any


class WireContact(TypedDict, total=False):
    id: str
    locationId: str
    firstName: str | None
    lastName: str | None
    firstNameLowerCase: str | None
    lastNameLowerCase: str | None
    contactName: str | None
    name: str | None
    email: str | None
    phone: str | None
    companyName: str | None
    businessId: str | None
    type: str | None
    source: str | None
    assignedTo: str | None
    address1: str | None
    address: str | None
    city: str | None
    state: str | None
    country: str | None
    postalCode: str | None
    website: str | None
    timezone: str | None
    dateOfBirth: str | None
    dateAdded: str
    dateUpdated: str
    dnd: bool
    dndSettings: dict[str, Any]
    tags: list[str]
    customFields: list[WireFieldValue]
    searchAfter: list[Any]


class WireNote(TypedDict, total=False):
    id: str
    contactId: str
    userId: str | None
    title: str | None
    body: str
    dateAdded: str


class WireCustomField(TypedDict, total=False):
    id: str
    locationId: str
    name: str
    fieldKey: str
    dataType: str
    model: str
    position: int
    placeholder: str | None
    picklistOptions: list[str]


class WireTag(TypedDict, total=False):
    id: str
    locationId: str
    name: str


class WireStage(TypedDict, total=False):
    id: str
    name: str
    position: int


class WirePipeline(TypedDict, total=False):
    id: str
    locationId: str
    name: str
    stages: list[WireStage]


class WireOpportunity(TypedDict, total=False):
    id: str
    locationId: str
    contactId: str
    name: str
    monetaryValue: float | None
    pipelineId: str
    pipelineStageId: str
    status: str
    source: str | None
    assignedTo: str | None
    createdAt: str
    updatedAt: str
    customFields: list[WireFieldValue]


class WireCalendar(TypedDict, total=False):
    id: str
    locationId: str
    name: str
    description: str | None
    calendarType: str
    isActive: bool
    slotDuration: int


class WireLocation(TypedDict, total=False):
    id: str
    companyId: str
    name: str
    email: str | None
    phone: str | None
    address: str | None
    city: str | None
    state: str | None
    country: str | None
    postalCode: str | None
    website: str | None
    timezone: str | None


class WireInstalledLocation(TypedDict, total=False):
    """A location as the installation list names it: its id is `_id` there."""

    _id: str
    name: str
    address: str | None
    isInstalled: bool


class WireNamed(TypedDict, total=False):
    """A campaign or a workflow, as lists show it."""

    id: str
    name: str
    status: str


class WireCompany(TypedDict, total=False):
    id: str
    name: str
    email: str | None
    phone: str | None
    website: str | None
    timezone: str | None
    status: str


class WireToken(TypedDict, total=False):
    access_token: str
    refresh_token: str
    expires_in: int
    scope: str
    userType: str
    companyId: str
    locationId: str
    userId: str


class WireWebhook(TypedDict, total=False):
    """The envelope of every webhook; the object's own fields lie beside these, at the top level."""

    type: str
    webhookId: str
    timestamp: str
    locationId: str
    companyId: str
    id: str
