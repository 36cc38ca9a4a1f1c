"""However many rows an answer has, it takes the same few SQL statements."""

import pytest

from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import add_contact, add_job, add_location, gid, unit_of
from tests.factories.statements import statements

DOCUMENTS = {
    "jobs with attempts": """{ jobs { nodes { id title progress { percent }
        attempts { number outcome } subject { __typename } } } }""",
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
