"""Locations, their tags, custom fields and custom values; users, companies, workflows, campaigns."""

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from tests.vendors.sandbox.harness import Sandbox

HOME = f"/locations/{seed.LARGE.id}"


async def test_locations_are_searched_by_skip_and_limit(sandbox: Sandbox) -> None:
    headers = sandbox.company_headers()
    default = (await sandbox.call("GET", "/locations/search", headers=headers)).json()
    assert len(default["locations"]) == 10
    ids: list[str] = []
    while True:
        page = await sandbox.call("GET", "/locations/search", headers=headers, params={"skip": len(ids), "limit": 10})
        rows = page.json()["locations"]
        ids += [row["id"] for row in rows]
        if len(rows) < 10:
            break
    assert ids == [location.id for location in seed.LOCATIONS[:25]]
    assert list(default) == ["locations"]


def test_no_two_locations_have_the_same_name() -> None:
    """People tell them apart by it, across agencies as well."""
    names = [location.name for location in seed.LOCATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("company", "count"), [(seed.EMPTY.id, 0), (seed.NORTHWIND.id, 2)])
async def test_a_company_sees_its_own_locations(sandbox: Sandbox, company: str, count: int) -> None:
    answer = await sandbox.call(
        "GET", f"/locations/search?companyId={company}&limit=100", headers=sandbox.company_headers(company)
    )
    assert len(answer.json()["locations"]) == count
    foreign = await sandbox.call(
        "GET", f"/locations/search?companyId={seed.BRIGHT.id}", headers=sandbox.company_headers(company)
    )
    assert foreign.status_code == 403


async def test_a_location_is_read_by_either_class_and_changed_by_its_company(sandbox: Sandbox) -> None:
    for headers in (sandbox.location_headers(), sandbox.company_headers()):
        location = (await sandbox.call("GET", HOME, headers=headers)).json()["location"]
        assert (location["id"], location["companyId"]) == (seed.LARGE.id, seed.BRIGHT.id)
    content = {"companyId": seed.BRIGHT.id, "name": "New Name"}
    assert (await sandbox.call("PUT", HOME, json=content)).status_code == 401
    assert (await sandbox.call("PUT", HOME, json=content, headers=sandbox.company_headers())).json()["name"] == "New Name"
    assert (await sandbox.call("GET", "/locations/unknown", headers=sandbox.company_headers())).status_code == 403


async def test_tags_of_a_location(sandbox: Sandbox) -> None:
    tag = (await sandbox.call("POST", f"{HOME}/tags", json={"name": "Hot Lead"})).json()["tag"]
    assert (tag["name"], tag["locationId"]) == ("hot lead", seed.LARGE.id)
    assert (await sandbox.call("POST", f"{HOME}/tags", json={"name": "hot lead"})).status_code == 400
    assert (await sandbox.call("GET", f"{HOME}/tags/{tag['id']}")).json()["tag"] == tag
    vip = seed.make_id(seed.LARGE.id, "tag", "vip")
    assert (await sandbox.call("PUT", f"{HOME}/tags/{vip}", json={"name": "gold"})).json()["tag"]["name"] == "gold"
    found = await sandbox.search(filters=[{"field": "tags", "operator": "eq", "value": "gold"}])
    assert found["total"] == seed.TAG_COUNTS["vip"]
    assert (await sandbox.call("DELETE", f"{HOME}/tags/{tag['id']}")).json() == {"succeded": True}
    assert (await sandbox.call("GET", f"{HOME}/tags/{tag['id']}")).status_code == 400


@pytest.mark.parametrize(("query", "count"), [("", 15), ("?model=contact", 15), ("?model=opportunity", 1), ("?model=all", 16)])
async def test_custom_fields_by_model(sandbox: Sandbox, query: str, count: int) -> None:
    assert len((await sandbox.call("GET", f"{HOME}/customFields{query}")).json()["customFields"]) == count


async def test_every_data_type_is_seeded(sandbox: Sandbox) -> None:
    fields = (await sandbox.call("GET", f"{HOME}/customFields")).json()["customFields"]
    assert [(field["name"], field["dataType"]) for field in fields] == [(name, kind) for name, kind, _ in seed_contacts.FIELDS]
    assert len({field["dataType"] for field in fields}) == len(fields)


async def test_custom_fields_are_made_changed_and_deleted(sandbox: Sandbox) -> None:
    made = await sandbox.call("POST", f"{HOME}/customFields", json={"name": "Shoe Size", "dataType": "NUMERICAL"})
    assert made.status_code == 201
    field = made.json()["customField"]
    assert field["fieldKey"] == "contact.shoe_size"
    path = f"{HOME}/customFields/{field['id']}"
    assert (await sandbox.call("PUT", path, json={"name": "Shoe"})).json()["customField"]["name"] == "Shoe"
    assert (await sandbox.call("GET", path)).json()["customField"]["name"] == "Shoe"
    assert (await sandbox.call("DELETE", path)).json() == {"succeded": True}
    assert (await sandbox.call("GET", path)).status_code == 400
    wrong = await sandbox.call("POST", f"{HOME}/customFields", json={"dataType": "ODD"})
    assert wrong.status_code == 422


async def test_custom_values(sandbox: Sandbox) -> None:
    value = (await sandbox.call("POST", f"{HOME}/customValues", json={"name": "Wifi", "value": "1234"})).json()["customValue"]
    path = f"{HOME}/customValues/{value['id']}"
    assert (await sandbox.call("PUT", path, json={"name": "Wifi", "value": "5678"})).json()["customValue"]["value"] == "5678"
    assert len((await sandbox.call("GET", f"{HOME}/customValues")).json()["customValues"]) == 2
    assert (await sandbox.call("DELETE", path)).json() == {"succeded": True}


async def test_users_companies_workflows_and_campaigns(sandbox: Sandbox) -> None:
    users = (await sandbox.call("GET", f"/users/?locationId={seed.LARGE.id}")).json()["users"]
    assert [user["firstName"] for user in users] == ["Marcus", "Nancy", "Omar"]
    assert (await sandbox.call("GET", f"/users/{users[0]['id']}")).json()["id"] == users[0]["id"]
    found = await sandbox.call(
        "GET", f"/users/search?companyId={seed.BRIGHT.id}&query=nancy", headers=sandbox.company_headers()
    )
    assert found.json()["count"] == 1
    company = await sandbox.call("GET", f"/companies/{seed.BRIGHT.id}", headers=sandbox.company_headers())
    assert (company.json()["company"]["name"], company.json()["company"]["locationCount"]) == ("Bright Agency", 25)
    assert (await sandbox.call("GET", f"/companies/{seed.NORTHWIND.id}", headers=sandbox.company_headers())).status_code == 403
    assert len((await sandbox.call("GET", f"/workflows/?locationId={seed.LARGE.id}")).json()["workflows"]) == 2
    drafts = await sandbox.call("GET", f"/campaigns/?locationId={seed.LARGE.id}&status=draft")
    assert [each["name"] for each in drafts.json()["campaigns"]] == ["Autumn Offer"]
    assert (await sandbox.call("GET", "/workflows/")).status_code == 422
