"""Finding jobs and contacts: each filter alone, together, and with characters that mean something to a database."""

from typing import Any

import pytest
import sqlalchemy as sa

from db.models.jobs import Job
from tests.factories.client import GraphQLFailed
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import FIELD, add_contact, add_job, add_location, gid, unit_of

CONTACTS = """query ($filter: ContactFilterInput, $order: ContactOrder! = NAME) {
  contacts(filter: $filter, orderBy: $order) { totalCount nodes { displayName } } }"""
JOBS = """query ($filter: JobFilterInput, $order: JobOrder! = OLDEST) {
  jobs(filter: $filter, orderBy: $order) { totalCount nodes { title } } }"""


async def contacts(owner: Person, order: str = "NAME", **wanted: Any) -> list[str]:
    found = (await owner.ask(CONTACTS, filter=wanted, order=order))["contacts"]
    assert found["totalCount"] == len(found["nodes"])
    return [node["displayName"] for node in found["nodes"]]


async def jobs(owner: Person, order: str = "OLDEST", **wanted: Any) -> list[str]:
    found = (await owner.ask(JOBS, filter=wanted, order=order))["jobs"]
    assert found["totalCount"] == len(found["nodes"])
    return [node["title"] for node in found["nodes"]]


async def people(house: House, *names: str, **values: Any) -> Person:
    owner = await new_owner(house)
    async with unit_of(house, owner.account_id) as unit:
        location = await add_location(unit)
        for name in names:
            await add_contact(unit, location, name=name, **values)
    return owner


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ada", ["Ada 100%"]),
        ("ADA", ["Ada 100%"]),
        ("%", ["Ada 100%"]),
        ("100%", ["Ada 100%"]),
        ("_", ["under_score"]),
        ("r_s", ["under_score"]),
        ("\\", ["back\\slash"]),
        ("k\\s", ["back\\slash"]),
        ("'", ["O'Brien"]),
        ('"', []),
        ("; DROP TABLE contact; --", []),
        ("müller", ["Jürgen Müller"]),
        ("MÜLLER jürgen", ["Jürgen Müller"]),
        ("日本", ["日本太郎"]),
        ("\U0001f600", ["Smile \U0001f600"]),
        ("brien o", ["O'Brien"]),
        ("ada brien", []),
        ("   ", ["Ada 100%", "Jürgen Müller", "O'Brien", "Smile \U0001f600", "back\\slash", "under_score", "日本太郎"]),
        ("zz", []),
        ("x" * 5_000, []),
    ],
)
async def test_words_are_looked_for_as_they_are_written(shared_house: House, text: str, found: list[str]) -> None:
    names = ["Ada 100%", "under_score", "back\\slash", "O'Brien", "Jürgen Müller", "日本太郎", "Smile \U0001f600"]
    owner = await people(shared_house, *names)
    assert sorted(await contacts(owner, text=text)) == found


async def test_words_are_looked_for_in_everything_that_tells_a_person(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        location = await add_location(unit)
        await add_contact(unit, location, name="One", email="ada@lovelace.example")
        await add_contact(unit, location, name="Two", phone="+15125550123")
        await add_contact(unit, location, name="Three", company="Lovelace & Sons")
    assert await contacts(owner, text="lovelace") == ["One", "Three"]
    assert await contacts(owner, text="5550123") == ["Two"]


async def test_each_filter_of_contacts(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        here, there = await add_location(unit), await add_location(unit, external_id="loc-2")
        await add_contact(unit, here, name="A", email="a@x.example", tags=["lead", "vip"], custom_fields={FIELD: "red"})
        await add_contact(unit, here, name="B", other_emails=["a@x.example"], tags=["lead"], phone="+15125550123")
        await add_contact(unit, there, name="C", other_phones=["+15125550123"], custom_fields={FIELD: ["red"]})
    assert await contacts(owner, locationId=gid("location", here)) == ["A", "B"]
    assert await contacts(owner, email=" A@X.example ") == ["A", "B"], "the addresses of merged duplicates count"
    assert await contacts(owner, phone="+15125550123") == ["B", "C"]
    assert await contacts(owner, tags=["Lead"]) == ["A", "B"]
    assert await contacts(owner, tags=["lead", "VIP"]) == ["A"]
    assert await contacts(owner, customField={"id": FIELD, "value": "red"}) == ["A"]
    assert await contacts(owner, customField={"id": "'; --", "value": "%"}) == []
    assert await contacts(owner, source="BB") == []
    assert await contacts(owner, syncStates=["SYNCED", "LOCAL"]) == ["A", "B", "C"]
    assert await contacts(owner, syncStates=["REMOTE_DELETED"]) == []
    assert await contacts(owner, tags=["lead"], phone="+15125550123") == ["B"], "all that is given must hold"
    assert await contacts(owner, order="NEWEST") == ["C", "B", "A"]
    assert await contacts(owner, locationId="location_" + "0" * 26) == []


async def test_each_filter_of_jobs(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        location = await add_location(unit)
        one, two, three = (
            await add_job(unit, title="Sync 50%", location_id=location.id),
            await add_job(unit, title="Sync under_score"),
            await add_job(unit, title="Export"),
        )
        when = sa.cast(sa.literal("2026-01-01T00:00:00+00:00"), sa.TIMESTAMP(timezone=True))
        await unit.session.execute(sa.update(Job).where(Job.id == one.id).values(created_at=when))
        await unit.session.execute(sa.update(Job).where(Job.id == three.id).values(archived_at=sa.func.now()))
    await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", two)}"}}) {{ job {{ id }} }} }}')
    assert await jobs(owner) == ["Sync 50%", "Sync under_score"]
    assert await jobs(owner, order="NEWEST") == ["Sync under_score", "Sync 50%"]
    assert await jobs(owner, archived=True) == ["Export"]
    assert await jobs(owner, states=["CANCELLED"]) == ["Sync under_score"]
    assert await jobs(owner, states=["CANCELLED", "READY"]) == ["Sync 50%", "Sync under_score"]
    assert await jobs(owner, kinds=["test.plain", "x"]) == ["Sync 50%", "Sync under_score"]
    assert await jobs(owner, kinds=["x"]) == []
    assert await jobs(owner, locationId=gid("location", location)) == ["Sync 50%"]
    assert await jobs(owner, text="50%") == ["Sync 50%"]
    assert await jobs(owner, text="R_S") == ["Sync under_score"]
    assert await jobs(owner, text="test.plain sync") == ["Sync 50%", "Sync under_score"]
    assert await jobs(owner, until="2026-01-01T00:00:00Z") == [], "until is exclusive"
    assert await jobs(owner, until="2026-01-01T01:00:01+01:00") == ["Sync 50%"], "a zone is a zone"
    assert await jobs(owner, since="2026-01-01T00:00:00Z", until="2026-06-01T00:00:00Z") == ["Sync 50%"]
    assert await jobs(owner, since="2026-01-01T00:00:00.000001Z") == ["Sync under_score"]
    assert await jobs(owner, since="9999-12-31T23:59:59Z") == []
    assert await jobs(owner, until="0001-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "yesterday",
        "",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "10000-01-01T00:00:00Z",
    ],
)
async def test_a_time_without_a_zone_or_out_of_time_is_refused(shared_house: House, moment: str) -> None:
    owner = await new_owner(shared_house)
    with pytest.raises(GraphQLFailed) as failed:
        await jobs(owner, since=moment)
    assert (failed.value.code, "with its zone" in failed.value.errors[0]["message"]) == ("API-104", True)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("{ jobs(filter: {states: [NOPE]}) { totalCount } }", "API-103"),
        ('{ jobs(filter: {states: ["READY"]}) { totalCount } }', "API-103"),
        ("{ jobs(orderBy: SIDEWAYS) { totalCount } }", "API-103"),
        ('{ jobs(filter: {locationId: "job_00000000000000000000000000"}) { totalCount } }', "API-002"),
        ('{ contacts(filter: {locationId: "garbage"}) { totalCount } }', "API-002"),
        ('{ syncRuns(locationId: "") { totalCount } }', "API-002"),
        ("{ jobs(filter: {nope: 1}) { totalCount } }", "API-103"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(shared_house: House, document: str, code: str) -> None:
    owner = await new_owner(shared_house)
    with pytest.raises(GraphQLFailed) as failed:
        await owner.ask(document)
    assert failed.value.code == code


async def test_another_account_s_rows_fit_no_filter(shared_house: House) -> None:
    owner, other = await people(shared_house, "Ada"), await new_owner(shared_house)
    assert await contacts(owner, text="Ada") == ["Ada"]
    assert await contacts(other, text="Ada") == []
    location = (await owner.ask("{ ghlLocations { nodes { id } } }"))["ghlLocations"]["nodes"][0]["id"]
    assert await contacts(other, locationId=location) == []
    assert await jobs(other, locationId=location) == []
