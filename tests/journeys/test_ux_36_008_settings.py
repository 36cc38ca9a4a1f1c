"""UX-36-008: what an account decides for all its jobs of a kind, who may decide it, and what is written down of it."""

from typing import Any

import pytest

from tests.factories.engine import Scripted
from tests.factories.house import House
from tests.factories.people import Person, add_person, new_owner
from tests.factories.queue import (
    BOOST,
    PAUSE,
    PRIORITY,
    RESUME,
    SLOTS,
    UPDATE_SETTINGS,
    UPDATE_SLOTS,
    act,
    ask_for,
    audited,
    done,
    job_of,
    settings_of,
    titles,
)

KIND = Scripted.kind


@pytest.fixture
async def olivia(house: House) -> Person:
    """The owner."""
    return await new_owner(house)


@pytest.fixture
async def alex(house: House, olivia: Person) -> Person:
    """A member, who works with jobs."""
    return await add_person(house, olivia, "MEMBER")


async def decide(person: Person, **values: Any) -> dict[str, Any]:
    version = (await settings_of(person, KIND))["version"]
    settings: dict[str, Any] = (await done(person, UPDATE_SETTINGS, kind=KIND, expectedVersion=version, **values))["settings"]
    return settings


@pytest.mark.story("36-008-S6")
async def test_a_kind_has_a_default_priority_that_new_jobs_take(house: House, alex: Person) -> None:
    before = await ask_for(house, alex, "before")
    settings = await decide(alex, priority="HIGH")
    assert (settings["priority"], settings["decided"], settings["setBy"]) == ("HIGH", ["priority"], "MEMBER")
    after = await ask_for(house, alex, "after")
    assert (await job_of(alex, before))["priority"] == "NORMAL"
    assert (await job_of(alex, after))["priority"] == "HIGH"
    assert await titles(alex) == ["after", "before"]
    settings = await decide(alex, priority=None)
    assert (settings["priority"], settings["decided"], settings["setBy"]) == ("NORMAL", [], None)


async def test_retries_timeout_and_slots_are_the_manager_s(house: House, olivia: Person, alex: Person) -> None:
    for values in ({"maxRetries": 1}, {"timeoutSeconds": 60}, {"slots": 1}):
        payload = await act(alex, UPDATE_SETTINGS, kind=KIND, expectedVersion=0, **values)
        assert payload["userErrors"][0]["code"] == "API-004"
    settings = await decide(olivia, maxRetries=1, timeoutSeconds=60, slots=3)
    assert (settings["maxRetries"], settings["timeoutSeconds"], settings["slots"]) == (1, 60, 3)
    assert settings["decided"] == ["maxRetries", "timeoutSeconds", "slots"]
    job = await alex.client.job(await ask_for(house, alex, "A"))
    assert job["maxRetries"] == 1
    settings = await decide(olivia, maxRetries=None, timeoutSeconds=None, slots=None)
    assert (settings["maxRetries"], settings["slots"], settings["decided"]) == (5, None, [])


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"maxRetries": 11}, "API-002", ["maxRetries"]),
        ({"maxRetries": -1}, "API-002", ["maxRetries"]),
        ({"timeoutSeconds": 0}, "API-002", ["timeoutSeconds"]),
        ({"slots": 0}, "API-002", ["slots"]),
        ({}, "API-002", None),
        ({"slots": 2, "expectedVersion": 7}, "API-009", ["expectedVersion"]),
        ({"slots": 2, "kind": "no.such.kind"}, "BGJ-052", ["kind"]),
    ],
)
async def test_bad_settings_are_refused(olivia: Person, given: dict[str, Any], code: str, field: list[str] | None) -> None:
    payload = await act(olivia, UPDATE_SETTINGS, **{"kind": KIND, "expectedVersion": 0, **given})
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"], payload["settings"]) == (code, field, None)


async def test_account_slots_are_decided_by_managers_only(olivia: Person, alex: Person) -> None:
    slots = (await alex.ask(SLOTS))["accountSlots"]
    assert (slots["slots"], slots["inUse"]) == (10, 0)
    refused = await act(alex, UPDATE_SLOTS, slots=20, expectedVersion=slots["version"])
    assert refused["userErrors"][0]["code"] == "API-004"
    changed = await done(olivia, UPDATE_SLOTS, slots=20, expectedVersion=slots["version"])
    assert changed["accountSlots"]["slots"] == 20
    stale = await act(olivia, UPDATE_SLOTS, slots=30, expectedVersion=slots["version"])
    assert stale["userErrors"] == [{"code": "API-009", "field": ["expectedVersion"]}]
    for wrong in (0, 1001):
        payload = await act(olivia, UPDATE_SLOTS, slots=wrong, expectedVersion=changed["accountSlots"]["version"])
        assert payload["userErrors"] == [{"code": "API-002", "field": ["slots"]}]
    (entry,) = [entry for entry in await audited(olivia) if entry["action"] == "account.slots"]
    assert entry["details"] == {"before": 10, "after": 20}


@pytest.mark.story("36-008-B5", "36-008-S5")
async def test_every_change_of_the_order_is_in_the_audit_log(house: House, olivia: Person, alex: Person) -> None:
    await ask_for(house, alex, "A")
    job_id = await ask_for(house, alex, "B")
    for document, more in (
        (PRIORITY, {"priority": "HIGH"}),
        (PRIORITY, {"priority": "LOW"}),
        (BOOST, {}),
        (PAUSE, {}),
        (RESUME, {}),
    ):
        await done(alex, document, id=job_id, **more)
    entries = await audited(olivia, job_id)
    assert [entry["action"] for entry in entries] == ["job.priority", "job.priority", "job.boost", "job.pause", "job.resume"]
    assert {entry["actorName"] for entry in entries} == {"The member"}
    assert [(entry["details"]["before"], entry["details"]["after"]) for entry in entries[:3]] == [
        ("NORMAL", "HIGH"),
        ("HIGH", "LOW"),
        ("LOW", "BOOSTED"),
    ]
    await decide(alex, priority="LOW")
    (entry,) = [entry for entry in await audited(olivia) if entry["action"] == "job.settings.update"]
    assert (entry["details"]["kind"], entry["details"]["before"]["priority"], entry["details"]["after"]["priority"]) == (
        KIND,
        None,
        "LOW",
    )


@pytest.mark.story("36-008-E6")
async def test_an_admin_overrides_what_a_user_decided_and_the_log_says_so(house: House, olivia: Person, alex: Person) -> None:
    admin = await add_person(house, olivia, "ADMIN")
    await decide(alex, priority="URGENT")
    settings = await decide(admin, priority="LOW")
    assert (settings["priority"], settings["setBy"]) == ("LOW", "ADMIN")
    entry = (await audited(olivia))[-1]
    assert (entry["action"], entry["actorName"]) == ("job.settings.override", "The admin")
    assert (entry["details"]["before"]["priority"], entry["details"]["after"]["priority"]) == ("URGENT", "LOW")
    assert entry["details"]["overrides"] == "member"
    refused = await act(alex, UPDATE_SETTINGS, kind=KIND, expectedVersion=settings["version"], priority="URGENT")
    assert refused["userErrors"] == [
        {"code": "BGJ-051", "message": "An owner or admin has decided the priority of these jobs.", "field": ["priority"]}
    ]
    await decide(admin, priority=None)  # which leaves it to members again
    await decide(alex, priority="HIGH")


@pytest.mark.story("36-008-E6")
async def test_an_admin_overrides_a_user_s_boost_and_the_log_says_so(house: House, olivia: Person, alex: Person) -> None:
    await ask_for(house, alex, "A")
    job_id = await ask_for(house, alex, "B")
    await done(alex, BOOST, id=job_id)
    await done(olivia, PRIORITY, id=job_id, priority="LOW")
    assert await titles(alex) == ["A", "B"]
    entry = (await audited(olivia, job_id))[-1]
    assert entry["action"] == "job.priority.override"
    assert (entry["details"]["before"], entry["details"]["after"], entry["details"]["overrides"]) == (
        "BOOSTED",
        "LOW",
        "The member",
    )


async def test_a_viewer_changes_nothing(house: House, olivia: Person) -> None:
    viewer = await add_person(house, olivia, "VIEWER")
    job_id = await ask_for(house, olivia, "A")
    for document, given in (
        (BOOST, {"id": job_id}),
        (PAUSE, {"id": job_id}),
        (PRIORITY, {"id": job_id, "priority": "LOW"}),
        (UPDATE_SETTINGS, {"kind": KIND, "expectedVersion": 0, "priority": "LOW"}),
    ):
        assert (await act(viewer, document, **given))["userErrors"][0]["code"] == "API-004"
