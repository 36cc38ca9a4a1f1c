"""Searching and listing contacts: pages, cursors, filters, sorting."""

from typing import Any

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from domain.vendors.sandbox.gohighlevel.contact_book import epoch_ms
from tests.vendors.sandbox.harness import Sandbox

TAGS = {"field": "tags", "operator": "eq"}


async def test_pages_by_cursor_visit_every_contact_once(sandbox: Sandbox) -> None:
    ids: list[str] = []
    after: dict[str, Any] = {}
    while page := (await sandbox.search(pageLimit=500, **after))["contacts"]:
        ids += [row["id"] for row in page]
        after = {"searchAfter": page[-1]["searchAfter"]}
    assert len(ids) == len(set(ids)) == seed.CONTACTS


async def test_pages_by_number_agree_with_the_cursor(sandbox: Sandbox) -> None:
    first, second = await sandbox.search(page=1), await sandbox.search(page=2)
    assert first["total"] == seed.CONTACTS
    by_cursor = await sandbox.search(searchAfter=first["contacts"][-1]["searchAfter"])
    assert by_cursor["contacts"] == second["contacts"]


async def test_the_cursor_stays_where_it_is_while_contacts_come_and_go(sandbox: Sandbox) -> None:
    first = (await sandbox.search(pageLimit=3))["contacts"]
    second = (await sandbox.search(pageLimit=3, searchAfter=first[-1]["searchAfter"]))["contacts"]
    await sandbox.control("POST", "contacts", {"location": seed.LARGE.id, "count": 5})
    await sandbox.control("DELETE", "contacts", {"location": seed.LARGE.id, "ids": [row["id"] for row in first]})
    again = (await sandbox.search(pageLimit=3, searchAfter=first[-1]["searchAfter"]))["contacts"]
    assert [row["id"] for row in again] == [row["id"] for row in second]


async def test_a_row_has_the_shape_of_search(sandbox: Sandbox) -> None:
    number = 4_990
    contact = {"field": "id", "operator": "eq", "value": seed.contact_id(seed.LARGE, number)}
    (row,) = (await sandbox.search(filters=[contact]))["contacts"]
    assert row["locationId"] == seed.LARGE.id
    assert row["address"] == "191 Oak Street"
    assert "address1" not in row
    assert isinstance(row["dateOfBirth"], int)
    assert row["searchAfter"] == [epoch_ms(row["dateAdded"]), row["id"]]
    assert [field["id"] for field in row["customFields"]] == [
        seed_contacts.field_id(seed.LARGE, name) for name, _, _ in seed_contacts.FIELDS
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"pageLimit": 501}, "pageLimit must not be greater than 500"),
        ({"pageLimit": None}, "pageLimit should not be empty"),
        ({"page": 1, "searchAfter": [1, "x"]}, "page and searchAfter should not be used together"),
        ({"limit": 5}, "property limit should not exist"),
        ({"query": "x" * 76}, "query must be shorter than or equal to 75 characters"),
        ({"sort": [{"field": "email", "direction": "up"}]}, "direction must be one of the following values: asc, desc"),
        ({"filters": [{"field": "tags", "operator": "is"}]}, "operator must be one of the following values"),
    ],
)
async def test_a_wrong_search_is_unprocessable(sandbox: Sandbox, body: dict[str, Any], message: str) -> None:
    answer = await sandbox.call("POST", "/contacts/search", json={"locationId": seed.LARGE.id, "pageLimit": 10, **body})
    assert answer.status_code == 422
    assert any(line.startswith(message) for line in answer.json()["message"])


@pytest.mark.parametrize(
    "body",
    [
        {"pageLimit": 500, "page": 21},
        {"searchAfter": ["x"]},
        {"searchAfter": ["x", "y"]},
        {"sort": [{"field": "contact_name", "direction": "asc"}]},
        {"filters": [{"field": "contact_name", "operator": "eq", "value": "x"}]},
    ],
)
async def test_an_impossible_search_is_a_bad_request(sandbox: Sandbox, body: dict[str, Any]) -> None:
    answer = await sandbox.call("POST", "/contacts/search", json={"locationId": seed.LARGE.id, "pageLimit": 10, **body})
    assert answer.status_code == 400


@pytest.mark.parametrize(("tag", "count"), seed.TAG_COUNTS.items())
async def test_filters_by_tag(sandbox: Sandbox, tag: str, count: int) -> None:
    assert (await sandbox.search(filters=[{**TAGS, "value": tag}]))["total"] == count


async def test_filters_combine(sandbox: Sandbox) -> None:
    vip, customer = {**TAGS, "value": "vip"}, {**TAGS, "value": "customer"}
    both = (await sandbox.search(filters=[vip, customer]))["total"]
    grouped = (await sandbox.search(filters=[{"group": "AND", "filters": [vip, customer]}]))["total"]
    either = (await sandbox.search(filters=[{"group": "OR", "filters": [vip, customer]}]))["total"]
    assert both == grouped == 50
    assert either == 200 + 1_250 - 50


@pytest.mark.parametrize(
    ("part", "total"),
    [
        ({"field": "email", "operator": "not_exists"}, seed.PHONE_ONLY + seed.NEITHER),
        ({"field": "email", "operator": "eq", "value": ["PERSON0010@boston.example"]}, 1),
        ({"field": "email", "operator": "wildcard", "value": "person001*"}, 9),
        ({"field": "email", "operator": "contains", "value": "person001"}, 9),
        ({"field": "type", "operator": "not_eq", "value": "lead"}, 1_250),
        (
            {"field": f"customFields.{seed_contacts.field_id(seed.LARGE, 'Plan')}", "operator": "eq", "value": "Plus"},
            seed.FILLED,
        ),
        ({"field": "dateAdded", "operator": "range", "value": {"lt": "2025-01-01T09:00:00Z"}}, 10),
        (
            {
                "field": "dateAdded",
                "operator": "range",
                "value": {"gte": seed_contacts.FIRST_ADDED, "lte": "2025-01-01T09:00:00Z"},
            },
            20,
        ),
    ],
)
async def test_filter_operators(sandbox: Sandbox, part: dict[str, Any], total: int) -> None:
    assert (await sandbox.search(filters=[part]))["total"] == total


async def test_only_what_changed_since(sandbox: Sandbox) -> None:
    changed = {"field": "dateUpdated", "operator": "range", "value": {"gte": "2026-06-01T00:00:00Z"}}
    assert (await sandbox.search(filters=[changed]))["total"] == 0
    ids = [seed.contact_id(seed.LARGE, number) for number in (3, 4)]
    await sandbox.control("PATCH", "contacts", {"location": seed.LARGE.id, "ids": ids, "set": {"city": "Lyon"}})
    found = (await sandbox.search(filters=[changed]))["contacts"]
    assert {row["id"] for row in found} == set(ids)
    assert {row["city"] for row in found} == {"Lyon"}


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("field", ["email", "dateUpdated", "firstNameLowerCase"])
async def test_sorted_pages_visit_every_contact_once(sandbox: Sandbox, field: str, direction: str) -> None:
    location = seed.LOCATIONS[2]
    ids: list[str] = []
    values: list[Any] = []
    after: dict[str, Any] = {}
    while page := (await sandbox.search(location, pageLimit=30, sort=[{"field": field, "direction": direction}], **after))[
        "contacts"
    ]:
        ids += [row["id"] for row in page]
        values += [row[field] for row in page]
        after = {"searchAfter": page[-1]["searchAfter"]}
    assert len(set(ids)) == len(ids) == location.contacts
    assert values == sorted(values, reverse=direction == "desc")


async def test_free_text(sandbox: Sandbox) -> None:
    assert (await sandbox.search(query="person0042@"))["total"] == 1
    assert (await sandbox.search(query=" Ada Almeida "))["total"] > 0
    assert (await sandbox.search(query="nobody at all"))["total"] == 0


async def test_the_old_list_follows_its_next_page(sandbox: Sandbox) -> None:
    location = seed.LOCATIONS[2]
    headers, ids = sandbox.location_headers(location), []
    address: str | None = f"/contacts/?locationId={location.id}&limit=60"
    while address:
        content = (await sandbox.call("GET", address, headers=headers)).json()
        ids += [row["id"] for row in content["contacts"]]
        assert content["count"] == content["meta"]["total"] == location.contacts
        address = (content["meta"]["nextPageUrl"] or "").removeprefix("https://services.leadconnectorhq.com") or None
    assert len(ids) == len(set(ids)) == location.contacts


async def test_the_old_list_is_validated(sandbox: Sandbox) -> None:
    assert (await sandbox.call("GET", "/contacts/?limit=101")).json()["message"] == [
        "locationId must be a string",
        "locationId should not be empty",
        "limit must not be greater than 100",
    ]
