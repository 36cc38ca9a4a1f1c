"""Connections: pages, cursors, and a count that is made only for whoever asks."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import Invalid
from graph import paging
from tests.factories.client import GraphQLFailed
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import add_contact, add_job, add_location, gid, unit_of
from tests.factories.statements import statements

JOBS = """query ($first: Int, $after: String, $last: Int, $before: String, $order: JobOrder! = NEWEST) {
  jobs(first: $first, after: $after, last: $last, before: $before, orderBy: $order) {
    totalCount nodes { title } edges { cursor node { title } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
LISTS = [
    "jobs",
    "contacts",
    "users",
    "apiKeys",
    "ghlAccounts",
    "ghlLocations",
    "syncRuns",
    "supportGrants",
    "accessLog",
    "auditLog",
]


async def with_jobs(house: House, number: int) -> tuple[Person, list[str]]:
    """An owner and the titles of jobs, the newest first. All are of one transaction, and so of one moment."""
    owner = await new_owner(house)
    async with unit_of(house, owner.account_id) as unit:
        titles = [(await add_job(unit, title=f"Job {number}")).title for number in range(number)]
    return owner, titles[::-1]


async def page(owner: Person, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await owner.ask(JOBS, **arguments))["jobs"]
    assert [edge["node"] for edge in found["edges"]] == found["nodes"]
    cursors = [edge["cursor"] for edge in found["edges"]]
    info = found["pageInfo"]
    assert (info["startCursor"], info["endCursor"]) == ((cursors[0], cursors[-1]) if cursors else (None, None))
    return found


def titles_of(found: dict[str, Any]) -> list[str]:
    return [node["title"] for node in found["nodes"]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_walking_forward_and_back_meets_each_row_once(shared_house: House, size: int) -> None:
    owner, titles = await with_jobs(shared_house, 7)
    met: list[str] = []
    cursor = None
    while True:
        found = await page(owner, first=size, after=cursor)
        assert found["pageInfo"]["hasPreviousPage"] is (cursor is not None)
        met += titles_of(found)
        cursor = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert met == titles
    met, cursor = [], None
    while True:
        found = await page(owner, last=size, before=cursor)
        assert found["pageInfo"]["hasNextPage"] is (cursor is not None)
        met = titles_of(found) + met
        cursor = found["pageInfo"]["startCursor"]
        if not found["pageInfo"]["hasPreviousPage"]:
            break
    assert met == titles


async def test_the_other_order_is_the_same_list_backwards(shared_house: House) -> None:
    owner, titles = await with_jobs(shared_house, 5)
    assert titles_of(await page(owner, order="OLDEST")) == titles[::-1]
    first = await page(owner, order="OLDEST", first=2)
    assert titles_of(await page(owner, order="OLDEST", after=first["pageInfo"]["endCursor"])) == titles[::-1][2:]


async def test_between_two_cursors(shared_house: House) -> None:
    owner, titles = await with_jobs(shared_house, 6)
    cursors = [edge["cursor"] for edge in (await page(owner))["edges"]]
    assert titles_of(await page(owner, after=cursors[0], before=cursors[5])) == titles[1:5]
    assert titles_of(await page(owner, after=cursors[0], before=cursors[5], first=2)) == titles[1:3]
    assert titles_of(await page(owner, after=cursors[0], before=cursors[5], last=2)) == titles[3:5]


async def test_rows_that_come_meanwhile_move_nothing(shared_house: House) -> None:
    owner, titles = await with_jobs(shared_house, 4)
    first = await page(owner, first=2)
    async with unit_of(shared_house, owner.account_id) as unit:
        await add_job(unit, title="Newer")
    assert titles_of(await page(owner, first=2, after=first["pageInfo"]["endCursor"])) == titles[2:]


async def test_a_page_has_fifty_rows_unless_another_size_is_asked_for(shared_house: House) -> None:
    owner, titles = await with_jobs(shared_house, 51)
    found = await page(owner)
    assert titles_of(found) == titles[:50]
    assert (found["totalCount"], found["pageInfo"]["hasNextPage"]) == (51, True)
    assert len(titles_of(await page(owner, first=100))) == 51


@pytest.mark.parametrize("name", LISTS)
async def test_an_empty_list_is_an_empty_page(shared_house: House, name: str) -> None:
    owner = await new_owner(shared_house)
    document = f"{{ list: {name} {{ totalCount nodes {{ __typename }} pageInfo {{ hasNextPage endCursor }} }} }}"
    found = (await owner.ask(document))["list"]
    if name != "users":
        assert found == {"totalCount": 0, "nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"first": 0}, "API-002"),
        ({"first": -1}, "API-002"),
        ({"first": 101}, "API-107"),
        ({"last": 0}, "API-002"),
        ({"last": 101}, "API-107"),
        ({"first": 1, "last": 1}, "API-002"),
        ({"after": ""}, "API-002"),
        ({"after": "x"}, "API-002"),
        ({"before": "[]"}, "API-002"),
        ({"after": paging.pack([])}, "API-002"),
        ({"after": paging.pack(["1", "2", "3"])}, "API-002"),
        ({"after": paging.pack([1, 2])}, "API-002"),
        ({"after": paging.pack([True])}, "API-002"),
    ],
)
async def test_a_page_that_makes_no_sense_is_refused(shared_house: House, arguments: dict[str, Any], code: str) -> None:
    owner = await new_owner(shared_house)
    declared = "$first: Int, $after: String, $last: Int, $before: String"
    passed = "first: $first, after: $after, last: $last, before: $before"
    for name in LISTS:
        with pytest.raises(GraphQLFailed) as failed:
            await owner.ask(f"query ({declared}) {{ {name}({passed}) {{ nodes {{ __typename }} }} }}", **arguments)
        assert failed.value.code == code, name


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x", 0])
async def test_a_cursor_whose_time_is_none_is_refused(shared_house: House, moment: object) -> None:
    owner = await new_owner(shared_house)
    with pytest.raises(GraphQLFailed) as failed:
        await page(owner, after=paging.pack([moment, "01890000-0000-7000-8000-000000000000"]))
    assert failed.value.code == "API-002"


@given(
    values=st.lists(
        st.text(max_size=30) | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none() | st.floats(), max_size=3
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_made_up_cursor_is_decoded_or_refused(values: list[Any]) -> None:
    with suppress(Invalid):
        assert paging.decode(paging.pack(values), field="after") == values


async def test_a_cursor_of_another_list_is_refused(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        location = await add_location(unit)
        await add_contact(unit, location)
    cursor = (await owner.ask("{ contacts(orderBy: NAME) { pageInfo { endCursor } } }"))["contacts"]["pageInfo"]["endCursor"]
    with pytest.raises(GraphQLFailed) as failed:
        await page(owner, after=cursor)
    assert failed.value.code == "API-002"
    single = (await owner.ask("{ users { pageInfo { endCursor } } }"))["users"]["pageInfo"]["endCursor"]
    with pytest.raises(GraphQLFailed) as failed:
        await owner.ask("query ($after: String) { auditLog(after: $after) { totalCount } }", after=single)
    assert failed.value.code == "API-002"


async def test_the_list_is_counted_only_when_its_count_is_asked_for(shared_house: House) -> None:
    owner, _ = await with_jobs(shared_house, 3)
    with statements() as without:
        await owner.ask("{ jobs { nodes { title } } }")
    with statements() as counted:
        await owner.ask("{ jobs { totalCount nodes { title } } }")
    with statements() as only:
        await owner.ask("{ jobs { totalCount } }")
    assert not any("count(" in statement for statement in without)
    assert sum("count(" in statement for statement in counted) == 1
    assert sum("count(" in statement for statement in only) == 1


async def test_the_count_is_of_what_fits_the_filter(shared_house: House) -> None:
    owner, _ = await with_jobs(shared_house, 3)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit, title="Another")
    await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
    found = await owner.ask("{ jobs(first: 1, filter: {states: [READY]}) { totalCount nodes { title } } }")
    assert (found["jobs"]["totalCount"], len(found["jobs"]["nodes"])) == (3, 1)
