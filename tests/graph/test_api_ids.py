"""Global ids, and fetching anything by one."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from graph import ids
from tests.factories.client import GraphQLFailed
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import add_contact, add_job, add_location, gid, unit_of

PREFIXES = st.from_regex(r"[a-z]{1,12}", fullmatch=True)
NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"


@given(PREFIXES, st.uuids())
def test_what_is_encoded_is_decoded(prefix: str, row_id: UUID) -> None:
    text = ids.encode(prefix, row_id)
    assert ids.decode(text) == (prefix, row_id)
    assert ids.find(prefix, text) == row_id
    assert ids.find(f"{prefix}x", text) is None


@given(st.uuids(), st.uuids())
def test_ids_sort_like_what_they_stand_for(one: UUID, other: UUID) -> None:
    assert (one < other) == (ids.encode("job", one) < ids.encode("job", other))


@given(st.text() | st.from_regex(r"[a-z]*_[0-9a-z]{20,30}", fullmatch=True))
def test_what_is_no_id_is_never_a_fault(text: str) -> None:
    """And what is one has one spelling only, so that clients may compare ids."""
    found = ids.decode(text)
    assert found is None or ids.encode(*found) == text


@pytest.mark.parametrize("text", ["", "_", "job", "job_", "job_" + "8" + "0" * 25, "job_" + "0" * 25, "_" + "0" * 26])
def test_garbage_is_nothing(text: str) -> None:
    assert ids.decode(text) is None
    with pytest.raises(Invalid):
        ids.read("job", text, field="id")


async def one_of_each(house: House, owner: Person) -> dict[str, str]:
    """Global ids of a thing of every type that has one, by the type's name."""
    async with unit_of(house, owner.account_id) as unit:
        location = await add_location(unit)
        contact = await add_contact(unit, location)
        job = await add_job(unit)
    made = await owner.ask("""mutation {
      createApiKey(input: {name: "CI", scopes: [JOBS_READ]}) { apiKey { id } }
      grantSupportAccess(input: {reason: "Ticket", minutes: 5}) { grant { id } } }""")
    agency = (await owner.ask("{ ghlAccounts { nodes { id } } }"))["ghlAccounts"]["nodes"][0]["id"]
    return {
        "GhlLocation": gid("location", location),
        "GhlAccount": agency,
        "Contact": gid("contact", contact),
        "Job": gid("job", job),
        "User": owner.gid,
        "ApiKey": made["createApiKey"]["apiKey"]["id"],
        "SupportGrant": made["grantSupportAccess"]["grant"]["id"],
    }


async def test_anything_is_fetched_by_its_id_in_the_order_asked_for(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    things = await one_of_each(shared_house, owner)
    wanted = [*things.values(), "garbage", *reversed(things.values()), "job_" + "0" * 26]
    found = (await owner.ask(NODES, ids=wanted))["nodes"]
    by_id = {each: {"__typename": name, "id": each} for name, each in things.items()}
    assert found == [by_id.get(each) for each in wanted]
    for each in things.values():
        assert (await owner.ask("query ($id: ID!) { node(id: $id) { id } }", id=each))["node"] == {"id": each}


async def test_another_account_s_things_do_not_exist(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    things = await one_of_each(shared_house, owner)
    assert (await other.ask(NODES, ids=list(things.values())))["nodes"] == [None] * len(things)
    for name, root in {"Job": "job", "Contact": "contact"}.items():
        document = f"query ($id: ID!) {{ {root}(id: $id) {{ id }} }}"
        assert (await other.ask(document, id=things[name]))[root] is None


@pytest.mark.parametrize("root", ["node", "job", "contact"])
@pytest.mark.parametrize("text", ["", "garbage", "user_00000000000000000000000000", "query_00000000000000000000000000"])
async def test_an_id_that_leads_nowhere_is_null(shared_house: House, root: str, text: str) -> None:
    owner = await new_owner(shared_house)
    assert (await owner.ask(f"query ($id: ID!) {{ {root}(id: $id) {{ id }} }}", id=text))[root] is None


async def test_at_most_a_hundred_things_are_fetched_at_once(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    assert (await owner.ask(NODES, ids=["garbage"] * 100))["nodes"] == [None] * 100
    with pytest.raises(GraphQLFailed) as failed:
        await owner.ask(NODES, ids=["garbage"] * 101)
    assert failed.value.code == "API-002"


MUTATIONS = [
    "mutation ($id: ID!) { m: cancelJob(input: {id: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: retryJob(input: {id: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: testGhlAccount(input: {id: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: disconnectGhlAccount(input: {id: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: refreshGhlLocations(input: {id: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: updateGhlLocations(input: {ids: [$id], active: true}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: startContactSync(input: {locationId: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: startGhlAuthorization(input: {accountId: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: updateContact(input: {id: $id, expectedVersion: 1, fields: {}}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: updateUser(input: {id: $id, expectedVersion: 1}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: revokeApiKey(input: {id: $id}) { userErrors { code } } }",
    "mutation ($id: ID!) { m: revokeSupportAccess(input: {id: $id}) { userErrors { code } } }",
]


async def test_no_mutation_reaches_another_account_s_things(shared_house: House) -> None:
    """Nor says more about them than about what never was."""
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    things = await one_of_each(shared_house, owner)
    for document in MUTATIONS:
        theirs = [(await other.ask(document, id=each))["m"]["userErrors"] for each in things.values()]
        never = [
            (await other.ask(document, id=each.partition("_")[0] + "_" + "0" * 26))["m"]["userErrors"]
            for each in things.values()
        ]
        assert theirs == never, document
        assert all(len(errors) == 1 for errors in theirs), document
        assert {errors[0]["code"] for errors in theirs} <= {"API-002", "API-003", "GHL-002"}, document
