"""However many rows an answer has, it takes the same few SQL statements."""

import pytest

from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import add_contact, add_job, add_location, gid, unit_of
from tests.factories.statements import connections, statements

DOCUMENTS = {
    "jobs with attempts": """{ jobs { nodes { id title progress { percent }
        attempts { number outcome } subject { __typename } } } }""",
    "jobs as a dashboard opens them": """{ jobs { nodes { id statusGroup durationSeconds executionSeconds
        recentLog { id message } file { name } } } }""",
    "contacts with all about them": """{ contacts { nodes { id displayName tags
        refs { externalId } location { name account { name } } customFields { name value } } } }""",
    "agencies and their sub-accounts": "{ ghlLocations { nodes { name account { name status lastTest { ok } } } } }",
}


async def fill(house: House, owner: Person, number: int) -> list[str]:
    """`number` rows of everything, each with its own relations; their ids."""
    async with unit_of(house, owner.account_id) as unit:
        ids = []
        for each in range(number):
            location = await add_location(unit, name=f"Place {each}", external_id=f"loc-{each}")
            contact = await add_contact(unit, location)
            job = await add_job(unit, attempts=2)
            ids += [gid("location", location), gid("contact", contact), gid("job", job)]
    return ids


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_statements_do_not_grow_with_rows(shared_house: House, name: str) -> None:
    few, many = await new_owner(shared_house), await new_owner(shared_house)
    await fill(shared_house, few, 1)
    await fill(shared_house, many, 50)
    with statements() as for_one:
        await few.ask(DOCUMENTS[name])
    with statements() as for_fifty:
        answer = await many.ask(DOCUMENTS[name])
    [listed] = answer.values()
    assert len(listed["nodes"]) == 50
    assert 2 <= len(for_fifty) == len(for_one) <= 7, for_fifty


@pytest.mark.parametrize(
    "fields",
    [
        "nodes { customFields { id name value } }",
        "edges { node { ...Fields } }",
        "nodes { ... on Contact { id } ... on Node { ... on Contact { customFields { id name value } } } }",
    ],
)
async def test_a_list_takes_its_custom_fields_along(shared_house: House, fields: str) -> None:
    """In the list's own unit: that rows wait for a second one costs more than all else of them."""
    owner = await new_owner(shared_house)
    await fill(shared_house, owner, 3)
    fragment = "fragment Fields on Contact { customFields { id name value } }" if "..." in fields and "edges" in fields else ""
    with connections() as plain:
        await owner.ask("{ contacts { nodes { id } } }")
    with connections() as with_fields:
        listed = (await owner.ask(f"{{ contacts {{ {fields} }} }} {fragment}"))["contacts"]
    rows = [edge["node"] for edge in listed["edges"]] if "edges" in listed else listed["nodes"]
    assert [row["customFields"] for row in rows] == [[{"id": "fld_colour", "name": "Colour", "value": "blue"}]] * 3
    assert len(with_fields) == len(plain) == 2, "the session's, and the list's"


async def test_a_contact_by_itself_has_its_custom_fields_as_well(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    contact = (await fill(shared_house, owner, 1))[1]
    fields = "customFields { name value }"
    document = f"query ($id: ID!) {{ contact(id: $id) {{ {fields} }} node(id: $id) {{ ... on Contact {{ {fields} }} }} }}"
    answer = await owner.ask(document, id=contact)
    assert answer["contact"] == answer["node"] == {"customFields": [{"name": "Colour", "value": "blue"}]}


async def test_nodes_of_a_type_are_fetched_together(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    ids = await fill(shared_house, owner, 20)
    document = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    with statements() as for_three:
        await owner.ask(document, ids=ids[:3])
    with statements() as for_all:
        answer = await owner.ask(document, ids=ids)
    assert [node["id"] for node in answer["nodes"]] == ids
    assert len(for_all) == len(for_three) == 4, "the session's, and one for each of three types"
