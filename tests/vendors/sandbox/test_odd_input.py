"""No request, however odd, makes the sandbox fail: its own failures would look like the vendor's."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.vendors.sandbox.gohighlevel import contacts, seed
from domain.vendors.sandbox.gohighlevel.answers import Refused
from domain.vendors.sandbox.gohighlevel.api import ENDPOINTS
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint
from domain.vendors.sandbox.gohighlevel.search import BODY, OPERATORS
from domain.vendors.sandbox.gohighlevel.state import World
from tests.vendors.sandbox.harness import Sandbox

HOME = seed.LOCATIONS[2]
ODD: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    "\x00",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": 1},
    ["x"],
    [5],
    1e20,
    "9" * 30,
    "9999-12-31T23:59:59Z",
]
DEEPER = (
    "customFields",
    "tags",
    "searchAfter",
    "filters",
    "sort",
    "dateOfBirth",
    "startTime",
    "endTime",
    "openHours",
    "slotDuration",
)
IDS = {
    "contacts": seed.contact_id(HOME, 0),
    "opportunities": seed.make_id(HOME.id, "opportunity", 0),
    "calendars": seed.make_id(HOME.id, "calendar", "Check-up"),
    "locations": HOME.id,
    "companies": HOME.company_id,
    "users": seed.make_id(HOME.company_id, "user", 0),
}
SOUND: dict[str, Any] = {
    "locationId": HOME.id,
    "location_id": HOME.id,
    "companyId": HOME.company_id,
    "contactId": IDS["contacts"],
    "calendarId": IDS["calendars"],
    "pipelineId": seed.make_id(HOME.id, "pipeline", "Sales"),
    "email": "someone@x.example",
    "pageLimit": 5,
    "limit": 5,
    "startTime": "2026-01-07T10:00:00-05:00",
    "startDate": 1_767_571_200_000,
    "endDate": 1_767_830_400_000,
    "status": "open",
    "dataType": "TEXT",
    "grant_type": "refresh_token",
    "completed": True,
    "tags": ["a"],
    "contacts": [IDS["contacts"]],
    "followers": [],
}


def _answer(world: World, endpoint: Endpoint, content: Any) -> int:
    """The status of an answer to this body, which is the query, too."""
    company = world.companies[HOME.company_id]
    grant = world.grant(company, location_id=None if endpoint.access == "agency" else HOME.id)
    area = endpoint.path.split("/")[1]
    known = seed.make_id(HOME.id, "event", 0) if "/events/" in endpoint.path else IDS.get(area, "x")
    path = dict.fromkeys(("tag_id", "field_id", "value_id", "note_id", "task_id", "workflow_id", "campaign_id"), "x") | {
        "id": known,
        "type": "add",
    }
    query = {name: str(value) for name, value in content.items()} if isinstance(content, dict) else {}
    try:
        return endpoint.handle(Call(world, endpoint.method, endpoint.path, path, query, content, grant, {})).status
    except Refused as refusal:
        return refusal.answer.status


def _required(world: World, endpoint: Endpoint) -> list[str]:
    """The properties which the endpoint says are missing."""
    grant = world.grant(world.companies[HOME.company_id], location_id=None if endpoint.access == "agency" else HOME.id)
    path = {"id": IDS.get(endpoint.path.split("/")[1], "x"), "type": "add"}
    try:
        endpoint.handle(Call(world, endpoint.method, endpoint.path, path, {}, {}, grant, {}))
    except Refused as refusal:
        lines = orjson.loads(refusal.answer.body).get("message", [])
        return [line.split(" ")[0] for line in lines if line.endswith("should not be empty")]
    except KeyError:  # the path of something that hangs on a contact
        pass
    return []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
async def test_odd_input_is_refused_politely(sandbox: Sandbox, endpoint: Endpoint) -> None:
    sandbox.world.touch(HOME.id)
    required = _required(sandbox.world, endpoint)
    least = {name: SOUND.get(name, "text") for name in required}
    for content in (least, *ODD, *({**least, name: odd} for name in (*required, *DEEPER) for odd in ODD)):
        assert _answer(sandbox.world, endpoint, content) < 500


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from(["email", "tags", "dateAdded", "address", "customFields.x", "odd"])
_PART = st.fixed_dictionaries({"field": _FIELDS, "operator": st.sampled_from(OPERATORS)}, optional={"value": _JSON})
_GROUP = st.fixed_dictionaries({"group": st.sampled_from(["AND", "OR", "x"]), "filters": st.lists(_PART, max_size=3)})
_SORT = st.fixed_dictionaries({"field": _FIELDS, "direction": st.sampled_from(["asc", "desc"])})
_SEARCH = st.fixed_dictionaries(
    {"locationId": st.just(HOME.id), "pageLimit": st.integers(0, 600)},
    optional={
        "searchAfter": st.lists(_JSON, max_size=3),
        "query": st.text(max_size=80),
        "filters": st.lists(_PART | _GROUP, max_size=3),
        "sort": st.lists(_SORT, max_size=2),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_SEARCH | st.dictionaries(st.sampled_from(sorted(BODY)), _JSON))
def test_any_search_is_answered_or_refused(running_sandbox: Sandbox, body: dict[str, Any]) -> None:
    search = next(endpoint for endpoint in ENDPOINTS if endpoint.handle is contacts.search)
    assert _answer(running_sandbox.world, search, body) in (200, 400, 403, 422)
