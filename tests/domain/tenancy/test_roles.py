"""What each role may do, and that nobody rises above it."""

from typing import Any

import pytest

from tests.factories.client import Client
from tests.factories.house import PASSWORD, House
from tests.factories.people import CREATE_USER, Person, add_person, new_owner
from tests.factories.rows import add_contact, add_job, add_location, gid, unit_of

UPDATE = """mutation ($input: UpdateUserInput!) { updateUser(input: $input) {
  user { id role version disabledAt } userErrors { code field message } } }"""
READS = {
    "jobs": "{ jobs { totalCount } }",
    "contacts": "{ contacts { totalCount } }",
    "agencies": "{ ghlAccounts { totalCount } }",
    "people": "{ users { totalCount } }",
    "keys": "{ apiKeys { totalCount } }",
    "log": "{ auditLog { totalCount } }",
    "grants": "{ supportGrants { totalCount } }",
}
MAY_READ = {
    "ADMIN": set(READS),
    "MEMBER": {"jobs", "contacts", "agencies", "people", "keys"},
    "VIEWER": {"jobs", "contacts", "agencies"},
}


async def update(person: Person, whom: Person, version: int = 1, **change: Any) -> dict[str, Any]:
    payload: dict[str, Any] = (await person.ask(UPDATE, input={"id": whom.gid, "expectedVersion": version, **change}))[
        "updateUser"
    ]
    return payload


def codes(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


@pytest.mark.parametrize("role", MAY_READ)
async def test_who_may_read_what(shared_house: House, role: str) -> None:
    person = await add_person(shared_house, await new_owner(shared_house), role)
    for what, document in READS.items():
        answer = await person.client.http.post("/graphql", json={"query": document}, headers=person.client.headers)
        codes = [error["extensions"]["code"] for error in answer.json().get("errors", ())]
        assert codes == ([] if what in MAY_READ[role] else ["API-004"]), what


async def test_a_viewer_changes_nothing(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        location = await add_location(unit)
        contact = await add_contact(unit, location)
        job = await add_job(unit)
    place = gid("location", location)
    viewer = await add_person(shared_house, owner, "VIEWER")
    attempts = {
        "cancelJob": f'(input: {{id: "{gid("job", job)}"}})',
        "retryJob": f'(input: {{id: "{gid("job", job)}"}})',
        "createContact": f'(input: {{locationId: "{place}", fields: {{email: "a@b.example"}}}})',
        "updateContact": f'(input: {{id: "{gid("contact", contact)}", expectedVersion: 1, fields: {{city: "Rome"}}}})',
        "startContactSync": f'(input: {{locationId: "{place}"}})',
        "startGhlAuthorization": "",
        "updateGhlLocations": f'(input: {{ids: ["{place}"], active: false}})',
        "createApiKey": '(input: {name: "x", scopes: [JOBS_READ]})',
        "grantSupportAccess": '(input: {reason: "x", minutes: 5})',
    }
    for name, given in attempts.items():
        answer = await viewer.ask(f"mutation {{ {name}{given} {{ userErrors {{ code }} }} }}")
        assert answer[name]["userErrors"] == [{"code": "API-004"}], name
    state = await viewer.ask(
        "query ($id: ID!) { job(id: $id) { state version } contacts { nodes { version city } } }", id=gid("job", job)
    )
    assert state == {"job": {"state": "READY", "version": 1}, "contacts": {"nodes": [{"version": 1, "city": None}]}}


async def test_a_member_works_but_manages_nobody(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    member, viewer = await add_person(shared_house, owner, "MEMBER"), await add_person(shared_house, owner, "VIEWER")
    cancelled = await member.ask(
        "mutation ($id: ID!) { cancelJob(input: {id: $id}) { job { state } userErrors { code } } }", id=gid("job", job)
    )
    assert cancelled["cancelJob"] == {"job": {"state": "CANCELLED"}, "userErrors": []}
    given = {"email": "friend@agency.example", "name": "A friend", "role": "VIEWER", "password": PASSWORD}
    assert codes((await member.ask(CREATE_USER, input=given))["createUser"]) == ["API-004"]
    assert codes(await update(member, viewer, disabled=True)) == ["API-004"]
    assert codes(await update(member, member, role="OWNER")) == ["API-004"]


async def test_an_admin_makes_no_owner_and_touches_none(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    admin, member = await add_person(shared_house, owner, "ADMIN"), await add_person(shared_house, owner, "MEMBER")
    given = {"email": "boss@agency.example", "name": "A boss", "role": "OWNER", "password": PASSWORD}
    assert codes((await admin.ask(CREATE_USER, input=given))["createUser"]) == ["API-004"]
    assert codes(await update(admin, member, role="OWNER")) == ["API-004"]
    assert codes(await update(admin, owner, disabled=True)) == ["API-004"]
    assert codes(await update(admin, owner, role="VIEWER")) == ["API-004"]
    assert (await update(admin, member, role="ADMIN"))["user"]["role"] == "ADMIN"


async def test_an_owner_may_make_another_owner(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    member = await add_person(shared_house, owner, "MEMBER")
    assert (await update(owner, member, role="OWNER"))["user"]["role"] == "OWNER"
    assert (await member.ask("{ viewer { role } }"))["viewer"]["role"] == "OWNER", "at once, without a new token"


async def test_nobody_changes_themselves(shared_house: House) -> None:
    """Or an account might be left without anybody who can manage it."""
    owner = await new_owner(shared_house)
    assert codes(await update(owner, owner, role="VIEWER")) == ["API-004"]
    assert codes(await update(owner, owner, disabled=True)) == ["API-004"]


async def test_a_key_that_manages_members_touches_no_owner(shared_house: House) -> None:
    """It has no role of its own; without a rank it would be an admin's way to become owner."""
    owner = await new_owner(shared_house)
    admin, member = await add_person(shared_house, owner, "ADMIN"), await add_person(shared_house, owner, "MEMBER")
    document = 'mutation ($scopes: [Scope!]!) { createApiKey(input: {name: "x", scopes: $scopes}) { secret } }'
    reader = ["MEMBERS_WRITE", "JOBS_READ", "CONTACTS_READ", "CONNECTIONS_READ", "WORKFLOWS_READ"]
    secret = (await admin.ask(document, scopes=reader))["createApiKey"]["secret"]
    program = Person(Client(shared_house.http, secret), owner.account_id, admin.user_id, "")
    assert codes(await update(program, member, role="ADMIN")) == ["API-004"]  # may do more than the key
    assert codes(await update(program, member, role="OWNER")) == ["API-004"]
    assert codes(await update(program, owner, disabled=True)) == ["API-004"]
    assert codes(await update(program, member, role="VIEWER")) == []


async def test_no_customer_becomes_support(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    member = await add_person(shared_house, owner, "MEMBER")
    given = {"email": "support@agency.example", "name": "Support", "role": "SUPPORT", "password": PASSWORD}
    assert codes((await owner.ask(CREATE_USER, input=given))["createUser"]) == ["API-002"]
    assert codes(await update(owner, member, role="SUPPORT")) == ["API-002"]


async def test_a_change_on_stale_grounds_is_refused(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    member = await add_person(shared_house, owner, "MEMBER")
    assert codes(await update(owner, member, role="VIEWER")) == []
    stale = await update(owner, member, role="ADMIN")
    assert (codes(stale), stale["userErrors"][0]["field"]) == (["API-009"], ["expectedVersion"])


async def test_people_of_another_account_do_not_exist(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    member = await add_person(shared_house, owner, "MEMBER")
    assert codes(await update(other, member, disabled=True)) == ["API-003"]
    assert (await other.ask("query ($id: ID!) { node(id: $id) { id } }", id=member.gid))["node"] is None


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"email": "not an address"}, "API-002", "email"),
        ({"email": ""}, "API-002", "email"),
        ({"name": " "}, "API-002", "name"),
        ({"password": "eleven char"}, "API-002", "password"),
    ],
)
async def test_a_person_that_makes_no_sense_is_refused(
    shared_house: House, change: dict[str, str], code: str, field: str
) -> None:
    owner = await new_owner(shared_house)
    given = {"email": "new@agency.example", "name": "New", "role": "MEMBER", "password": PASSWORD, **change}
    [error] = (await owner.ask(CREATE_USER, input=given))["createUser"]["userErrors"]
    assert (error["code"], error["field"]) == (code, [field])


async def test_an_address_signs_in_one_person_only_whichever_account_they_are_in(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    given = {"email": owner.email.upper(), "name": "Twin", "role": "MEMBER", "password": PASSWORD}
    assert codes((await other.ask(CREATE_USER, input=given))["createUser"]) == ["API-020"]
