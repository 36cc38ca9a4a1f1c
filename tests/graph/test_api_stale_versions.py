"""A change on stale grounds is refused with the thing as it is now, so that the client can apply it to that without asking."""

from typing import Any

import pytest

from tests.factories.house import House
from tests.factories.people import Person, add_person, new_owner
from tests.factories.rows import add_contact, add_location, gid, unit_of

STALE = """userErrors { __typename code field ... on StaleVersionError { current { id __typename
  ... on User { role version } ... on Contact { lastName version customFields { name } } ... on GhlLocation { status version }
} } }"""
CHANGES: dict[str, dict[str, Any]] = {
    "User": {"role": "VIEWER"},
    "Contact": {"fields": {"lastName": "Byron"}},
    "GhlLocation": {"active": False},
}
MUTATIONS = {"User": "updateUser", "Contact": "updateContact", "GhlLocation": "updateGhlLocations"}


async def made(house: House, owner: Person, kind: str) -> str:
    if kind == "User":
        return (await add_person(house, owner, "MEMBER")).gid
    async with unit_of(house, owner.account_id) as unit:
        location = await add_location(unit)
        return gid("location", location) if kind == "GhlLocation" else gid("contact", await add_contact(unit, location))


@pytest.mark.parametrize("kind", MUTATIONS)
async def test_the_current_state_comes_with_the_refusal(shared_house: House, kind: str) -> None:
    owner = await new_owner(shared_house)
    node = await made(shared_house, owner, kind)
    name = MUTATIONS[kind]
    document = f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{ m: {name}(input: $input) {{ {STALE} }} }}"
    named = {"ids": [node]} if kind == "GhlLocation" else {"id": node}
    given = {**named, "expectedVersion": 1, **CHANGES[kind]}
    assert (await owner.ask(document, input=given))["m"]["userErrors"] == []
    [stale] = (await owner.ask(document, input=given))["m"]["userErrors"]
    current = stale.pop("current")
    assert stale == {"__typename": "StaleVersionError", "code": "API-009", "field": ["expectedVersion"]}
    assert (current["__typename"], current["id"], current["version"]) == (kind, node, 2)
    shown = {"User": {"role": "VIEWER"}, "Contact": {"lastName": "Byron"}, "GhlLocation": {"status": "AVAILABLE"}}[kind]
    assert current.items() >= shown.items()
    again = {**given, "expectedVersion": current["version"]}
    assert (await owner.ask(document, input=again))["m"]["userErrors"] == [], "what it says can be sent next"
