"""What the sandbox answers and accepts, compared with the vendor's OpenAPI files.

CONTRACTS_DIR names their folder, and `jsonschema` must be installed; otherwise these tests are skipped.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.vendors.sandbox.gohighlevel import (
    calendars,
    contact_details,
    contact_rules,
    contacts,
    dto,
    locations,
    oauth,
    opportunities,
    opportunity_search,
    people,
    search,
    seed,
    seed_contacts,
)
from tests.vendors.sandbox.harness import Sandbox

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

pytestmark = pytest.mark.skipif("CONTRACTS_DIR" not in os.environ, reason="CONTRACTS_DIR names no folder of contracts")

LOCATION = seed.LOCATIONS[2]
HOME, COMPANY = LOCATION.id, LOCATION.company_id
CONTACT = seed.contact_id(LOCATION, 1)
DEAL = seed.make_id(HOME, "opportunity", 0)
CALENDAR = seed.make_id(HOME, "calendar", "Check-up")
EVENT = seed.make_id(HOME, "event", 1)
TAG = seed.make_id(HOME, "tag", "vip")
FIELD = seed_contacts.field_id(LOCATION, "Plan")
PIPELINE = seed.make_id(HOME, "pipeline", "Sales")
WORKFLOW = seed.make_uuid(HOME, "workflow", "Welcome Series")
NEW_CONTACT = {"locationId": HOME, "firstName": "New", "email": "new@x.example", "tags": ["a"]}
NEW_DEAL = {
    "pipelineId": PIPELINE,
    "locationId": HOME,
    "name": "n",
    "status": "open",
    "contactId": seed.contact_id(LOCATION, 99),
}
NEW_TASK = {"title": "t", "dueDate": "2026-12-01T10:00:00Z", "completed": False}
NEW_EVENT = {"calendarId": CALENDAR, "locationId": HOME, "contactId": CONTACT, "startTime": "2026-01-07T10:00:00-05:00"}
GROUP = {"locationId": HOME, "name": "g", "description": "d", "slug": "s"}
WINDOW = "startTime=1767571200000&endTime=1767830400000"
SLOTS = "startDate=1767571200000&endDate=1767830400000"

# The vendor's file, its path there, the method, the sandbox's path, and the body.
CALLS: list[tuple[str, str, str, str, Any]] = [
    ("locations", "/locations/search", "GET", f"/locations/search?companyId={COMPANY}", None),
    ("locations", "/locations/{locationId}", "GET", f"/locations/{HOME}", None),
    ("locations", "/locations/{locationId}", "PUT", f"/locations/{HOME}", {"companyId": COMPANY, "name": "N"}),
    ("locations", "/locations/{locationId}/timezones", "GET", f"/locations/{HOME}/timezones", None),
    ("locations", "/locations/{locationId}/tags", "GET", f"/locations/{HOME}/tags", None),
    ("locations", "/locations/{locationId}/tags", "POST", f"/locations/{HOME}/tags", {"name": "new"}),
    ("locations", "/locations/{locationId}/tags/{tagId}", "GET", f"/locations/{HOME}/tags/{TAG}", None),
    ("locations", "/locations/{locationId}/tags/{tagId}", "PUT", f"/locations/{HOME}/tags/{TAG}", {"name": "gold"}),
    ("locations", "/locations/{locationId}/tags/{tagId}", "DELETE", f"/locations/{HOME}/tags/{TAG}", None),
    ("locations", "/locations/{locationId}/customFields", "GET", f"/locations/{HOME}/customFields?model=all", None),
    (
        "locations",
        "/locations/{locationId}/customFields",
        "POST",
        f"/locations/{HOME}/customFields",
        {"name": "n", "dataType": "TEXT"},
    ),
    ("locations", "/locations/{locationId}/customFields/{id}", "GET", f"/locations/{HOME}/customFields/{FIELD}", None),
    ("locations", "/locations/{locationId}/customFields/{id}", "PUT", f"/locations/{HOME}/customFields/{FIELD}", {"name": "n"}),
    ("locations", "/locations/{locationId}/customFields/{id}", "DELETE", f"/locations/{HOME}/customFields/{FIELD}", None),
    ("locations", "/locations/{locationId}/customValues", "GET", f"/locations/{HOME}/customValues", None),
    (
        "locations",
        "/locations/{locationId}/customValues",
        "POST",
        f"/locations/{HOME}/customValues",
        {"name": "n", "value": "v"},
    ),
    ("contacts", "/contacts/search", "POST", "/contacts/search", {"locationId": HOME, "pageLimit": 20}),
    ("contacts", "/contacts/", "GET", f"/contacts/?locationId={HOME}&limit=100", None),
    ("contacts", "/contacts/", "POST", "/contacts/", NEW_CONTACT),
    ("contacts", "/contacts/upsert", "POST", "/contacts/upsert", NEW_CONTACT),
    ("contacts", "/contacts/{contactId}", "GET", f"/contacts/{CONTACT}", None),
    ("contacts", "/contacts/{contactId}", "PUT", f"/contacts/{CONTACT}", {"city": "Lyon"}),
    ("contacts", "/contacts/{contactId}", "DELETE", f"/contacts/{CONTACT}", None),
    ("contacts", "/contacts/{contactId}/tags", "POST", f"/contacts/{CONTACT}/tags", {"tags": ["a"]}),
    ("contacts", "/contacts/{contactId}/tags", "DELETE", f"/contacts/{CONTACT}/tags", {"tags": ["a"]}),
    ("contacts", "/contacts/{contactId}/notes", "GET", f"/contacts/{CONTACT}/notes", None),
    ("contacts", "/contacts/{contactId}/notes", "POST", f"/contacts/{CONTACT}/notes", {"body": "b"}),
    ("contacts", "/contacts/{contactId}/tasks", "GET", f"/contacts/{CONTACT}/tasks", None),
    ("contacts", "/contacts/{contactId}/tasks", "POST", f"/contacts/{CONTACT}/tasks", NEW_TASK),
    ("contacts", "/contacts/{contactId}/appointments", "GET", f"/contacts/{CONTACT}/appointments", None),
    ("contacts", "/contacts/{contactId}/followers", "POST", f"/contacts/{CONTACT}/followers", {"followers": ["u"]}),
    ("contacts", "/contacts/{contactId}/followers", "DELETE", f"/contacts/{CONTACT}/followers", {"followers": ["u"]}),
    ("contacts", "/contacts/{contactId}/workflow/{workflowId}", "POST", f"/contacts/{CONTACT}/workflow/{WORKFLOW}", {}),
    (
        "contacts",
        "/contacts/bulk/tags/update/{type}",
        "POST",
        "/contacts/bulk/tags/update/add",
        {"contacts": [CONTACT], "tags": ["a"], "locationId": HOME},
    ),
    ("opportunities", "/opportunities/pipelines", "GET", f"/opportunities/pipelines?locationId={HOME}", None),
    ("opportunities", "/opportunities/search", "GET", f"/opportunities/search?location_id={HOME}", None),
    ("opportunities", "/opportunities/search", "POST", "/opportunities/search", {"locationId": HOME, "limit": 5}),
    ("opportunities", "/opportunities/", "POST", "/opportunities/", NEW_DEAL),
    ("opportunities", "/opportunities/upsert", "POST", "/opportunities/upsert", NEW_DEAL),
    ("opportunities", "/opportunities/{id}", "GET", f"/opportunities/{DEAL}", None),
    ("opportunities", "/opportunities/{id}", "PUT", f"/opportunities/{DEAL}", {"name": "n"}),
    ("opportunities", "/opportunities/{id}", "DELETE", f"/opportunities/{DEAL}", None),
    ("opportunities", "/opportunities/{id}/status", "PUT", f"/opportunities/{DEAL}/status", {"status": "won"}),
    ("calendars", "/calendars/", "GET", f"/calendars/?locationId={HOME}", None),
    ("calendars", "/calendars/", "POST", "/calendars/", {"locationId": HOME, "name": "n"}),
    ("calendars", "/calendars/{calendarId}", "GET", f"/calendars/{CALENDAR}", None),
    ("calendars", "/calendars/{calendarId}", "PUT", f"/calendars/{CALENDAR}", {"name": "n"}),
    ("calendars", "/calendars/{calendarId}", "DELETE", f"/calendars/{CALENDAR}", None),
    ("calendars", "/calendars/{calendarId}/free-slots", "GET", f"/calendars/{CALENDAR}/free-slots?{SLOTS}", None),
    ("calendars", "/calendars/groups", "GET", f"/calendars/groups?locationId={HOME}", None),
    ("calendars", "/calendars/groups", "POST", "/calendars/groups", GROUP),
    ("calendars", "/calendars/events", "GET", f"/calendars/events?locationId={HOME}&calendarId={CALENDAR}&{WINDOW}", None),
    ("calendars", "/calendars/events/appointments", "POST", "/calendars/events/appointments", NEW_EVENT),
    ("calendars", "/calendars/events/appointments/{eventId}", "GET", f"/calendars/events/appointments/{EVENT}", None),
    ("calendars", "/calendars/events/appointments/{eventId}", "PUT", f"/calendars/events/appointments/{EVENT}", {"title": "t"}),
    ("calendars", "/calendars/events/{eventId}", "DELETE", f"/calendars/events/{EVENT}", {}),
    ("users", "/users/search", "GET", f"/users/search?companyId={COMPANY}", None),
    ("users", "/users/", "GET", f"/users/?locationId={HOME}", None),
    ("companies", "/companies/{companyId}", "GET", f"/companies/{COMPANY}", None),
    ("workflows", "/workflows/", "GET", f"/workflows/?locationId={HOME}", None),
    ("campaigns", "/campaigns/", "GET", f"/campaigns/?locationId={HOME}", None),
]
OF_COMPANY = ("/locations/search", f"/companies/{COMPANY}", f"/locations/{HOME}")

BODIES: list[tuple[str, str, dto.Shape]] = [
    ("oauth", "GetAccessCodebodyDto", oauth.TOKEN_BODY),
    ("oauth", "GetLocationAccessCodeBodyDto", oauth.LOCATION_TOKEN_BODY),
    ("locations", "CreateCustomFieldsDTO", locations.CREATE_FIELD),
    ("locations", "UpdateCustomFieldsDTO", locations.UPDATE_FIELD),
    ("locations", "UpdateLocationDto", locations.UPDATE_BODY),
    ("locations", "tagBody", locations.TAG_BODY),
    ("locations", "customValuesDTO", locations.VALUE_BODY),
    ("contacts", "CreateContactDto", contact_rules.CREATE_BODY),
    ("contacts", "UpdateContactDto", contact_rules.UPDATE_BODY),
    ("contacts", "UpsertContactDto", contact_rules.UPSERT_BODY),
    ("contacts", "TagsDTO", contact_details.TAGS_BODY),
    ("contacts", "UpdateTagsDTO", contact_details.BULK_TAGS_BODY),
    ("contacts", "NotesDTO", contact_details.CREATE_NOTE),
    ("contacts", "UpdateNoteDTO", contact_details.UPDATE_NOTE),
    ("contacts", "CreateTaskParams", contact_details.CREATE_TASK),
    ("contacts", "UpdateTaskBody", contact_details.UPDATE_TASK),
    ("opportunities", "CreateDto", opportunities.CREATE_BODY),
    ("opportunities", "UpdateOpportunityDto", opportunities.FIELDS),
    ("opportunities", "UpsertOpportunityDto", opportunities.UPSERT_BODY),
    ("opportunities", "UpdateStatusDto", opportunities.STATUS_BODY),
    ("opportunities", "OpportunitySearchBodyDTO", opportunity_search.SEARCH_BODY),
    ("calendars", "CalendarCreateDTO", calendars.CREATE_CALENDAR),
    ("calendars", "CalendarUpdateDTO", calendars.CALENDAR_FIELDS),
    ("calendars", "GroupCreateDTO", calendars.GROUP_BODY),
    ("calendars", "AppointmentCreateSchema", calendars.CREATE_APPOINTMENT),
    ("calendars", "AppointmentEditSchema", calendars.APPOINTMENT_FIELDS),
]
QUERIES: list[tuple[str, str, dto.Shape]] = [
    ("oauth", "/oauth/installedLocations", oauth.INSTALLED_QUERY),
    ("locations", "/locations/search", locations.SEARCH_QUERY),
    ("locations", "/locations/{locationId}/customFields", locations.FIELDS_QUERY),
    ("contacts", "/contacts/", contacts.LIST_QUERY),
    ("contacts", "/contacts/search/duplicate", contacts.DUPLICATE_QUERY),
    ("opportunities", "/opportunities/search", opportunity_search.SEARCH_QUERY),
    ("opportunities", "/opportunities/pipelines", opportunities.LOCATION_QUERY),
    ("calendars", "/calendars/", calendars.LIST_QUERY),
    ("calendars", "/calendars/events", calendars.EVENTS_QUERY),
    ("calendars", "/calendars/{calendarId}/free-slots", calendars.SLOTS_QUERY),
    ("users", "/users/search", people.USERS_QUERY),
    ("campaigns", "/campaigns/", people.CAMPAIGNS_QUERY),
]


@functools.cache
def _contract(name: str) -> dict[str, Any]:
    path = Path(os.environ["CONTRACTS_DIR"]) / f"ghl-{name}.openapi.json"
    document: dict[str, Any] = _as_2020(json.loads(path.read_text()))
    schemas = document["components"]["schemas"]
    if name == "contacts":
        # Written as text, numbers, lists and objects, so they are read as these, whatever the file says.
        schemas["CustomFieldSchema"]["properties"]["value"] = {}
    if name == "opportunities":
        # The file says a list of lists without content.
        schemas["PipelinesResponseSchema"]["properties"]["stages"]["items"] = {"type": "object"}
    if name == "calendars":
        # The file knows dates only; a trace id stands beside them.
        slots = document["paths"]["/calendars/{calendarId}/free-slots"]["get"]["responses"]["200"]
        slots["content"]["application/json"]["schema"].setdefault("properties", {})["traceId"] = {"type": "string"}
    return document


def _as_2020(part: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema 2020-12 has it."""
    if isinstance(part, list):
        return [_as_2020(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {name: _as_2020(value) for name, value in part.items()}
    if made.pop("nullable", False) is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def _check(name: str, path: str, answer: httpx.Response) -> None:
    document = _contract(name)
    responses = document["paths"][path][answer.request.method.lower()]["responses"]
    assert str(answer.status_code) in responses, answer.text
    contents: list[dict[str, Any]] = list(responses[str(answer.status_code)].get("content", {}).values())
    schema = contents[0]["schema"] if contents else {}
    root = {**schema, "components": document["components"]}
    errors = [
        f"{'/'.join(map(str, error.path))}: {error.message[:200]}"
        for error in jsonschema.Draft202012Validator(root).iter_errors(answer.json())
    ]
    assert errors == []


@pytest.mark.parametrize(
    ("name", "path", "method", "address", "content"), CALLS, ids=[f"{call[2]} {call[1]}" for call in CALLS]
)
async def test_an_answer_fits_its_schema(
    sandbox: Sandbox, name: str, path: str, method: str, address: str, content: Any
) -> None:
    by_company = address.partition("?")[0] in OF_COMPANY
    headers = sandbox.company_headers() if by_company else sandbox.location_headers(LOCATION)
    answer = await sandbox.call(method, address, headers=headers, json=content)
    assert answer.is_success, answer.text
    _check(name, path, answer)


async def test_oauth_answers_fit_their_schemas(sandbox: Sandbox) -> None:
    code = (await sandbox.consent()).params["code"]
    answer = await sandbox.token(grant_type="authorization_code", code=code)
    _check("oauth", "/oauth/token", answer)
    _check(
        "oauth", "/oauth/token", await sandbox.token(grant_type="refresh_token", refresh_token=answer.json()["refresh_token"])
    )
    query = f"?companyId={COMPANY}&appId=app"
    _check(
        "oauth",
        "/oauth/installedLocations",
        await sandbox.call("GET", f"/oauth/installedLocations{query}", headers=sandbox.company_headers()),
    )
    form = {"companyId": COMPANY, "locationId": HOME}
    made = await sandbox.http.post("/oauth/locationToken", headers=sandbox.company_headers(), data=form)
    # 201 in the field, 200 in the file.
    assert made.status_code == 201
    made.status_code = 200
    _check("oauth", "/oauth/locationToken", made)


@pytest.mark.parametrize(("email", "status"), [("x", 422), (seed_contacts.email_of(LOCATION, 10), 400)])
async def test_a_refusal_fits_its_schema(sandbox: Sandbox, email: str, status: int) -> None:
    content = {"locationId": HOME, "email": email}
    for headers, expected in ((sandbox.location_headers(LOCATION), status), ({"version": "v3"}, 401)):
        answer = await sandbox.call("POST", "/contacts/", headers=headers, json=content)
        assert answer.status_code == expected
        _check("contacts", "/contacts/", answer)


@pytest.mark.parametrize(("name", "schema", "shape"), BODIES, ids=[body[1] for body in BODIES])
def test_a_body_has_the_documented_properties(name: str, schema: str, shape: dto.Shape) -> None:
    documented = _contract(name)["components"]["schemas"][schema]
    assert set(documented["properties"]) - set(shape) == set()
    assert set(documented.get("required", [])) == {field for field, rule in shape.items() if rule.required}


@pytest.mark.parametrize(("name", "path", "shape"), QUERIES, ids=[query[1] for query in QUERIES])
def test_a_query_has_the_documented_parameters(name: str, path: str, shape: dto.Shape) -> None:
    documented = [each for each in _contract(name)["paths"][path]["get"]["parameters"] if each["in"] == "query"]
    assert {each["name"] for each in documented} - set(shape) == set()
    assert {each["name"] for each in documented if each["required"]} == {
        field for field, rule in shape.items() if rule.required
    }


def test_the_search_body_has_the_documented_properties() -> None:
    documented = json.loads((Path(os.environ["CONTRACTS_DIR"]) / "ghl-contact-search-body.schema.json").read_text())
    assert set(documented["properties"]) == set(search.BODY)
    assert set(documented["required"]) == {field for field, rule in search.BODY.items() if rule.required}
    operators = documented["properties"]["filters"]["items"]["anyOf"][0]["properties"]["operator"]["enum"]
    assert set(operators) == set(search.OPERATORS)


async def test_events_have_documented_fields_only(sandbox: Sandbox) -> None:
    events = json.loads((Path(os.environ["CONTRACTS_DIR"]) / "ghl-webhooks-and-scopes.json").read_text())["events"]
    await sandbox.control("POST", "webhooks/url", {"url": "http://127.0.0.1:9"})
    for _, _, method, address, content in sorted(CALLS, key=lambda call: call[2] == "DELETE"):
        headers = sandbox.company_headers() if address.partition("?")[0] in OF_COMPANY else sandbox.location_headers(LOCATION)
        await sandbox.call(method, address, headers=headers, json=content)
    await sandbox.authorize(user_type="Location", location=HOME)
    await sandbox.control("POST", "uninstall", {"company": COMPANY})
    sent = [json.loads(delivery.body) for delivery in sandbox.world.webhooks.log]
    assert {"ContactCreate", "ContactDelete", "NoteCreate", "OpportunityCreate", "AppointmentCreate", "INSTALL"} <= {
        event["type"] for event in sent
    }
    for event in sent:
        documented = events[{"INSTALL": "AppInstall", "UNINSTALL": "AppUninstall"}.get(event["type"], event["type"])]
        known = set(documented["schema"]["properties"]).union(*documented["examples"])
        assert set(event) - known <= {"timestamp", "webhookId"}, event["type"]
