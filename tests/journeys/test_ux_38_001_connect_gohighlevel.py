"""UX-38-001: an agency owner connects GoHighLevel by OAuth."""

import time
from contextlib import aclosing
from typing import Any

import asyncpg
import httpx
import pytest

from domain import actor as actors
from domain.tenancy.vault import Unsealable
from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import Client
from tests.factories.crm import COMPLETE, START, connect, location_of, start_sync, sync
from tests.factories.house import House

ACCOUNTS = """{ ghlAccounts { totalCount nodes { id companyId name status missingScopes { name } accessExpiresAt version
  lastTest { ok latencyMs failures checkedAt } locations(first: 100) { totalCount nodes { id status } } } } }"""
TEST = """mutation ($id: ID!) { testGhlAccount(input: {id: $id}) { userErrors { code message }
  account { id status lastTest { ok latencyMs failures checkedAt } } } }"""
DISCONNECT = """mutation ($id: ID!) { disconnectGhlAccount(input: {id: $id}) {
  userErrors { code } account { status disconnectedAt } } }"""
CHOOSE = """mutation ($input: UpdateGhlLocationsInput!) { updateGhlLocations(input: $input) {
  locations { id status direction policy onlyTags version } userErrors { code message field } } }"""
SMALL = seed.LOCATIONS[2]


async def complete(client: Client, answer: dict[str, str]) -> dict[str, Any]:
    brought = {name: value for name, value in answer.items() if name in {"state", "code", "error"}}
    payload: dict[str, Any] = (await client.ask(COMPLETE, input=brought))["completeGhlAuthorization"]
    return payload


async def begin(client: Client, house: House, **choices: str) -> dict[str, str]:
    started = (await client.ask(START))["startGhlAuthorization"]
    return await house.consent(started["authorizationUrl"], **choices)


@pytest.mark.story("38-001-B1", "38-001-S1", "38-001-S4")
async def test_the_flow_ends_connected_with_the_sub_accounts_listed(house: House, owner: Client) -> None:
    began = time.monotonic()
    account = await connect(owner, house)
    assert time.monotonic() - began < 30
    assert account["name"] == "Bright Agency"
    assert account["status"] == "ACTIVE"
    assert account["missingScopes"] == []
    listed = {node["externalId"] for node in account["locations"]["nodes"]}
    assert listed == {location.id for location in seed.LOCATIONS if location.company_id == seed.BRIGHT.id}


@pytest.mark.story("38-001-B1")
@pytest.mark.parametrize("more_settings", [{"demo": True}])
async def test_the_plain_callback_finishes_in_the_browser(house: House, owner: Client) -> None:
    started = (await owner.ask(START))["startGhlAuthorization"]
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        page = await browser.get(
            started["authorizationUrl"], params=httpx.URL(started["authorizationUrl"]).params.set("decision", "allow")
        )
        again = await browser.get(str(page.url))
    assert page.status_code == 200
    assert "GoHighLevel connected successfully" in page.text
    assert again.status_code == 400  # the same answer twice connects once
    nodes = (await owner.ask(ACCOUNTS))["ghlAccounts"]["nodes"]
    assert [node["status"] for node in nodes] == ["ACTIVE"]


@pytest.mark.parametrize("more_settings", [{"spa_url": "https://app.example.com/"}])
async def test_the_callback_hands_the_answer_to_the_front_end(house: House, owner: Client) -> None:
    answer = await begin(owner, house)
    back = await owner.http.get("/oauth/gohighlevel/callback", params=answer)
    assert back.status_code == 303
    url = httpx.URL(back.headers["location"])
    assert (url.host, url.path) == ("app.example.com", "/oauth/gohighlevel")
    assert (url.params["state"], url.params["code"]) == (answer["state"], answer["code"])
    assert (await complete(owner, answer))["account"]["status"] == "ACTIVE"


async def test_without_a_front_end_nobody_is_connected_by_a_link(house: House, owner: Client) -> None:
    answer = await begin(owner, house)
    back = await owner.http.get("/oauth/gohighlevel/callback", params=answer)
    assert back.status_code == 501
    assert (await owner.ask(ACCOUNTS))["ghlAccounts"]["totalCount"] == 0


@pytest.mark.story("38-001-B2", "38-001-S2")
async def test_tokens_are_encrypted_at_rest(house: House, database_url: str) -> None:
    agency, user = await house.account()
    owner = await house.client_of(user)
    account = await connect(owner, house)
    async with house.workers():
        await sync(owner, location_of(account, SMALL.id))
    connection = await asyncpg.connect(database_url.replace("//bots@", "//postgres@"))
    try:
        access, refresh = await connection.fetchrow("select access_token, refresh_token from connection")
        location = await connection.fetchval("select access_token from location where access_token is not null")
    finally:
        await connection.close()
    vault = house.runtime.vault
    async with house.runtime.unit(actors.system(agency.id)) as unit:
        plain = await vault.unseal(unit, access, purpose="connection.access")
        with pytest.raises(Unsealable):
            await vault.unseal(unit, access, purpose="connection.refresh")
    assert plain.startswith("eyJ")  # the vendor's token, a JWT
    for sealed in (access, refresh, location):
        assert b"eyJ" not in sealed
        assert plain.encode() not in sealed


@pytest.mark.story("38-001-B3")
async def test_permissions_are_listed_before_anything_is_authorised(owner: Client) -> None:
    started = (await owner.ask(START))["startGhlAuthorization"]
    asked = {scope["name"]: scope["description"] for scope in started["requestedScopes"]}
    assert {"contacts.readonly", "contacts.write", "opportunities.write", "campaigns.readonly", "workflows.readonly"} <= set(
        asked
    )
    assert all(asked.values())
    in_url = set(httpx.URL(started["authorizationUrl"]).params["scope"].split())
    assert in_url == set(asked)


@pytest.mark.story("38-001-B4")
async def test_sub_accounts_are_chosen_after_connecting(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    assert {node["status"] for node in account["locations"]["nodes"]} == {"AVAILABLE"}
    chosen = [node["id"] for node in account["locations"]["nodes"][:2]]
    change = {"ids": chosen, "active": True, "direction": "BIDIRECTIONAL", "policy": "GHL_WINS", "onlyTags": [" VIP "]}
    payload = (await owner.ask(CHOOSE, input=change))["updateGhlLocations"]
    assert payload["userErrors"] == []
    assert [(node["status"], node["direction"], node["policy"], node["onlyTags"]) for node in payload["locations"]] == [
        ("ACTIVE", "BIDIRECTIONAL", "GHL_WINS", ["vip"])
    ] * 2
    statuses = (await owner.ask(ACCOUNTS))["ghlAccounts"]["nodes"][0]["locations"]["nodes"]
    assert [node["status"] for node in statuses].count("ACTIVE") == 2
    stale = (await owner.ask(CHOOSE, input={"ids": chosen[:1], "active": False, "expectedVersion": 1}))["updateGhlLocations"]
    assert stale["userErrors"][0]["code"] == "API-009"


@pytest.mark.story("38-001-B5")
async def test_the_connection_shows_the_state_of_syncs_in_real_time(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    watched = """subscription ($id: ID!) { ghlAccountUpdated(id: $id) { status
      locations(first: 100) { nodes { id syncedAt syncRuns(first: 1) { nodes { job { state } } } } } } }"""
    async with house.workers(), aclosing(owner.watch(watched, id=account["id"])) as updates:
        first = (await anext(updates))["ghlAccountUpdated"]
        assert first["status"] == "ACTIVE"
        assert all(node["syncedAt"] is None for node in first["locations"]["nodes"])
        await start_sync(owner, location)
        async for update in updates:
            node = next(node for node in update["ghlAccountUpdated"]["locations"]["nodes"] if node["id"] == location)
            if node["syncedAt"] is not None:
                break
    assert node["syncRuns"]["nodes"][0]["job"]["state"] in {"RUNNING", "SUCCEEDED"}


@pytest.mark.story("38-001-S3", "38-001-S5")
async def test_every_permission_works_and_the_test_says_so(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await house.control("DELETE", "/requests")
    tested = (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]
    assert tested["userErrors"] == []
    assert tested["account"]["lastTest"]["ok"] is True
    assert tested["account"]["lastTest"]["failures"] == []
    tried = {entry["path"] for entry in await house.control("GET", "/requests")}
    for path in (
        "/contacts/search",
        "/opportunities/pipelines",
        "/calendars/",
        "/campaigns/",
        "/workflows/",
        "/locations/search",
    ):
        assert any(path in seen for seen in tried), path


@pytest.mark.story("38-001-S5")
async def test_a_failing_connection_is_shown_with_its_reasons(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    house.fault("status", path="/contacts/search", times=None, status=503)
    tested = (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]
    assert tested["lastTest"]["ok"] is False
    assert [text.partition(":")[0] for text in tested["lastTest"]["failures"]] == ["contacts"]
    assert tested["status"] == "ACTIVE"  # an outage is not a lost authorisation


@pytest.mark.story("38-001-S3")
async def test_permissions_that_were_withheld_are_named(house: House, owner: Client) -> None:
    account = await connect(owner, house, company=seed.LIMITED.id)
    missing = {scope["name"] for scope in account["missingScopes"]}
    assert "contacts.write" in missing
    assert "contacts.readonly" not in missing
    tested = (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]["lastTest"]
    assert tested["ok"] is False
    assert any("contacts.write" in text for text in tested["failures"])


@pytest.mark.story("38-001-S6")
async def test_disconnecting_forgets_the_tokens_and_cancels_syncs(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    waiting = await start_sync(owner, location)  # no worker runs: it stays queued
    payload = (await owner.ask(DISCONNECT, id=account["id"]))["disconnectGhlAccount"]
    assert payload["userErrors"] == []
    assert payload["account"]["status"] == "DISCONNECTED"
    assert (await owner.job(waiting["id"]))["state"] == "CANCELLED"
    refused = await owner.ask(
        "mutation ($input: StartContactSyncInput!) { startContactSync(input: $input) { run { id } userErrors { code } } }",
        input={"locationId": location},
    )
    assert refused["startContactSync"] == {"run": None, "userErrors": [{"code": "GHL-002"}]}
    again = await connect(owner, house)
    assert again["id"] == account["id"]
    assert again["status"] == "ACTIVE"


@pytest.mark.story("38-001-S7", "38-001-E2")
async def test_an_expired_token_is_renewed_without_anybody_noticing(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await house.control("POST", "/tokens/expire", {"company": seed.BRIGHT.id})
    async with house.workers():
        job = await sync(owner, location_of(account, SMALL.id))
    assert job["state"] == "SUCCEEDED"
    assert job["attempt"] == 1
    renewed = (await owner.ask(ACCOUNTS))["ghlAccounts"]["nodes"][0]
    assert renewed["status"] == "ACTIVE"
    assert renewed["version"] > account["version"]
    assert renewed["accessExpiresAt"] > account["accessExpiresAt"]


@pytest.mark.story("38-001-E2", "38-001-S7")
async def test_a_revoked_authorisation_waits_for_the_user_and_goes_on_afterwards(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    async with house.workers():
        await house.revoke(seed.BRIGHT.id)
        job = await start_sync(owner, location)
        waiting = await owner.until(job["id"], "WAITING")
        assert waiting["errorCode"] == "GHL-001"
        assert (await owner.ask(ACCOUNTS))["ghlAccounts"]["nodes"][0]["status"] == "REAUTHORIZATION_REQUIRED"
        again = await connect(owner, house)
        assert again["id"] == account["id"]
        done = await owner.until(job["id"])
    assert done["state"] == "SUCCEEDED"
    assert done["failures"] == 0


@pytest.mark.story("38-001-E2")
async def test_a_sync_that_cannot_start_for_want_of_authorisation_says_so(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await house.revoke(seed.BRIGHT.id)
    tested = (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]
    assert tested["status"] == "REAUTHORIZATION_REQUIRED"
    refused = await owner.ask(
        """mutation ($input: StartContactSyncInput!) { startContactSync(input: $input) {
          userErrors { code ... on ReauthorizationRequiredError { accountId } } } }""",
        input={"locationId": location_of(account, SMALL.id)},
    )
    assert refused["startContactSync"]["userErrors"] == [{"code": "GHL-001", "accountId": account["id"]}]


@pytest.mark.story("38-001-E1")
async def test_declining_returns_with_a_message_and_connects_nothing(house: House, owner: Client) -> None:
    answer = await begin(owner, house, decision="deny")
    assert answer["error"] == "access_denied"
    payload = await complete(owner, answer)
    assert payload["account"] is None
    assert payload["userErrors"][0]["code"] == "GHL-011"
    assert "declined" in payload["userErrors"][0]["message"]
    assert (await owner.ask(ACCOUNTS))["ghlAccounts"]["totalCount"] == 0
    repeated = await complete(owner, answer)
    assert "declined" in repeated["userErrors"][0]["message"]
    assert (await connect(owner, house))["status"] == "ACTIVE"


@pytest.mark.story("38-001-E3")
async def test_a_suspended_agency_cannot_be_connected(house: House, owner: Client) -> None:
    payload = await complete(owner, await begin(owner, house, company=seed.SUSPENDED.id))
    assert payload["account"] is None
    assert "not active" in payload["userErrors"][0]["message"]
    assert payload["userErrors"][0]["retryable"] is False


@pytest.mark.story("38-001-E3")
async def test_an_agency_that_is_suspended_later_is_shown_as_such(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await house.control("POST", "/company", {"company": seed.BRIGHT.id, "suspended": True})
    tested = (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]
    assert tested["status"] == "SUSPENDED"
    assert tested["lastTest"]["ok"] is False
    await house.control("POST", "/company", {"company": seed.BRIGHT.id, "suspended": False})
    assert (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]["status"] == "ACTIVE"


@pytest.mark.story("38-001-E4")
async def test_an_agency_without_sub_accounts_is_connected_and_says_so(house: House, owner: Client) -> None:
    payload = await complete(owner, await begin(owner, house, company=seed.EMPTY.id))
    assert payload["userErrors"] == []
    assert payload["account"]["status"] == "ACTIVE"
    assert payload["account"]["locations"]["totalCount"] == 0
    assert "no sub-accounts" in payload["notice"]


@pytest.mark.story("38-001-E5")
async def test_a_network_error_is_retried_by_itself(house: House, owner: Client) -> None:
    answer = await begin(owner, house)
    house.fault("cut", path="/oauth/token", times=2, where="before")
    assert (await complete(owner, answer))["account"]["status"] == "ACTIVE"


@pytest.mark.story("38-001-E5")
async def test_a_longer_outage_is_told_and_the_same_answer_may_be_brought_again(house: House, owner: Client) -> None:
    answer = await begin(owner, house)
    house.fault("status", path="/oauth/token", times=3, status=503)
    failed = await complete(owner, answer)
    assert failed["userErrors"][0]["retryable"] is True
    assert failed["userErrors"][0]["code"] == "API-012"
    assert (await complete(owner, answer))["account"]["status"] == "ACTIVE"


@pytest.mark.story("38-001-E6")
async def test_connecting_again_offers_to_update_and_updates(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    offered = (await owner.ask(START, input={"accountId": account["id"]}))["startGhlAuthorization"]
    assert [(known["id"], known["status"]) for known in offered["existingAccounts"]] == [(account["id"], "ACTIVE")]
    payload = await complete(owner, await house.consent(offered["authorizationUrl"]))
    assert payload["wasConnected"] is True
    assert payload["account"]["id"] == account["id"]
    assert (await owner.ask(ACCOUNTS))["ghlAccounts"]["totalCount"] == 1


@pytest.mark.story("38-001-E7")
async def test_several_agencies_are_connected_side_by_side(house: House, owner: Client) -> None:
    first = await connect(owner, house)
    second = await connect(owner, house, company=seed.NORTHWIND.id)
    assert first["id"] != second["id"]
    nodes = (await owner.ask(ACCOUNTS))["ghlAccounts"]["nodes"]
    assert {(node["name"], node["status"]) for node in nodes} == {("Bright Agency", "ACTIVE"), ("Northwind", "ACTIVE")}


async def test_an_answer_that_nobody_asked_for_is_refused(house: House, owner: Client) -> None:
    payload = await complete(owner, {"state": "made-up", "code": "x"})
    assert payload["userErrors"][0]["code"] == "API-003"
    answer = await begin(owner, house)
    _, other = await house.account("Somebody Else")
    stolen = await complete(await house.client_of(other), answer)
    assert stolen["account"] is None
    assert stolen["userErrors"][0]["code"] in {"API-003", "API-004"}
