"""UX-38-001: an agency owner connects GoHighLevel by OAuth."""

import time
from typing import Any

import asyncpg
import httpx
import pytest

from domain import actor as actors
from domain.tenancy.vault import Unsealable
from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import Client
from tests.factories.crm import COMPLETE, START, connect, location_of, sync
from tests.factories.house import House

ACCOUNTS = """{ ghlAccounts { totalCount nodes { id companyId name status missingScopes { name } accessExpiresAt version
  lastTest { ok latencyMs failures checkedAt } locations(first: 100) { totalCount nodes { id status } } } } }"""
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
