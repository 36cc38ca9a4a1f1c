"""The control endpoints, the seed and the options."""

import base64
import time

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts
from domain.vendors.sandbox.gohighlevel.contact_book import ContactBook, email_key
from domain.vendors.sandbox.options import BadOptions, Options, from_environment
from tests.vendors.sandbox.harness import Sandbox

FIRST = f"/contacts/{seed.contact_id(seed.LARGE, 0)}"


async def test_requests_are_logged_without_secrets(sandbox: Sandbox) -> None:
    await sandbox.token(grant_type="refresh_token", refresh_token="very-secret")
    await sandbox.search(pageLimit=3)
    everything = await sandbox.control("GET", "requests")
    assert [(each["method"], each["path"]) for each in everything] == [("POST", "/oauth/token"), ("POST", "/contacts/search")]
    assert "very-secret" not in str(everything)
    assert "app-secret" not in str(everything)
    (searched,) = await sandbox.control("GET", "requests?path=/contacts/*&method=POST")
    assert searched["body"] == {"locationId": seed.LARGE.id, "pageLimit": 3}
    assert searched["headers"]["authorization"] == f"Bearer [Location {seed.LARGE.id}]"
    assert searched["headers"]["version"] == "2021-07-28"
    await sandbox.control("DELETE", "requests")
    assert await sandbox.control("GET", "requests") == []


async def test_state_counts(sandbox: Sandbox) -> None:
    await sandbox.search()
    await sandbox.search()
    state = await sandbox.control("GET", "state")
    assert state["paths"] == {"POST /contacts/search": 2}
    assert state["contacts"][seed.LARGE.id] == seed.CONTACTS


async def test_contacts_are_changed_behind_the_api(sandbox: Sandbox) -> None:
    bad = {"email": 5, "tags": "none", "dateAdded": "2020-01-01T00:00:00Z"}
    (made,) = (await sandbox.control("POST", "contacts", {"location": seed.LARGE.id, "contacts": [bad]}))["ids"]
    oldest = (await sandbox.search(sort=[{"field": "dateAdded", "direction": "asc"}]))["contacts"][0]
    assert (oldest["id"], oldest["email"], oldest["tags"]) == (made, 5, "none")
    await sandbox.control("PATCH", "contacts", {"location": seed.LARGE.id, "ids": [made], "set": {"email": "a@b.example"}})
    assert (await sandbox.search(query="a@b.example"))["total"] == 1
    assert await sandbox.control("DELETE", "contacts", {"location": seed.LARGE.id, "ids": [made]}) == {"deleted": 1}
    await sandbox.control("DELETE", "contacts", {"location": seed.LARGE.id, "all": True})
    assert (await sandbox.search())["total"] == 0
    await sandbox.control("POST", "reset")
    assert (await sandbox.search())["total"] == seed.CONTACTS


async def test_tokens_without_the_consent_page(sandbox: Sandbox) -> None:
    order = {"company": "Bright Agency", "location": seed.LARGE.id}
    token = (await sandbox.control("POST", "tokens", order))["access_token"]
    assert (await sandbox.call("GET", FIRST, headers=sandbox.headers(token))).status_code == 200
    short = (await sandbox.control("POST", "tokens", {**order, "seconds": -1}))["access_token"]
    assert (await sandbox.call("GET", FIRST, headers=sandbox.headers(short))).status_code == 401


async def test_a_company_loses_and_regains_its_locations(sandbox: Sandbox) -> None:
    for wanted, count in (("none", 0), ([seed.LARGE.id], 1), ("all", 25)):
        await sandbox.control("POST", "company", {"company": seed.BRIGHT.id, "locations": wanted})
        answer = await sandbox.call("GET", "/locations/search?limit=100", headers=sandbox.company_headers())
        assert len(answer.json()["locations"]) == count


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "company", {"company": "Nobody"}),
        ("POST", "company", {"company": seed.BRIGHT.id, "locations": ["other"]}),
        ("POST", "contacts", {"location": "nowhere"}),
        ("POST", "clock", {}),
        ("POST", "webhooks", {"event": {"type": "x"}}),
        ("POST", "webhooks", {"event": 5}),
        ("PATCH", "contacts", {"location": seed.LARGE.id, "ids": ["x"], "set": {}}),
        ("POST", "clock", []),
    ],
)
async def test_a_senseless_order_is_refused(sandbox: Sandbox, method: str, path: str, content: object) -> None:
    answer = await sandbox.http.request(method, f"/__control__/{path}", json=content)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_seed_is_what_its_constants_say() -> None:
    made = seed_contacts.contacts(seed.LARGE)
    emails = [email_key(contact.data["email"]) for contact in made]
    assert len(made) == len({contact.id for contact in made}) == seed.CONTACTS
    assert sum(not contact.data["email"] for contact in made) == seed.PHONE_ONLY + seed.NEITHER
    assert sum(not contact.data["email"] and not contact.data["phone"] for contact in made) == seed.NEITHER
    known = [email for email in emails if email and email != "not-an-address"]
    assert len(known) - len(set(known)) == seed.DUPLICATES
    for kind in seed.INVALID_KINDS:
        assert len([number for number in range(seed.CONTACTS) if seed.kind_of(number) == kind]) == seed.INVALID_EACH
    for number in seed.numbers_of("duplicate"):
        assert emails[number] == emails[seed.original_of(number)]
        assert seed.kind_of(seed.original_of(number)) == "plain"
    spelt = [made[number].data["email"] for number in seed.numbers_of("duplicate")]
    assert sum(email.isupper() for email in spelt) == seed.UPPER_CASE_DUPLICATES
    assert sum(email != email.strip() for email in spelt) == seed.PADDED_DUPLICATES
    assert sum(isinstance(c.data["customFields"], list) and len(c.data["customFields"]) == 15 for c in made) == seed.FILLED
    for tag, count in seed.TAG_COUNTS.items():
        assert sum(isinstance(c.data["tags"], list) and tag in c.data["tags"] for c in made) == count


def test_the_seed_is_always_the_same_and_quick() -> None:
    began = time.process_time()
    first, second = (ContactBook(seed_contacts.contacts(seed.LARGE)) for _ in range(2))
    assert time.process_time() - began < 5
    assert [contact.data for contact in first] == [contact.data for contact in second]
    assert len({location.id for location in seed.LOCATIONS}) == 29
    assert {len(location.id) for location in seed.LOCATIONS} | {len(company.id) for company in seed.COMPANIES} == {20}


def test_options_come_from_the_environment() -> None:
    key = base64.b64encode(bytes(32)).decode()
    environment = {
        "SANDBOX_WEBHOOK_KEY": key,
        "SANDBOX_WEBHOOK_URL": "http://x",
        "SANDBOX_RATE_LIMIT": "off",
        "GHL_CLIENT_ID": "a",
    }
    assert from_environment(environment) == Options(
        webhook_seed=bytes(32), webhook_url="http://x", rate_limit=False, client_id="a"
    )
    assert from_environment({}) == Options()
    for wrong in ({"SANDBOX_RATE_LIMIT": "maybe"}, {"SANDBOX_WEBHOOK_KEY": "short"}, {"SANDBOX_WEBHOOK_KEY": "!"}):
        with pytest.raises(BadOptions):
            from_environment(wrong)
