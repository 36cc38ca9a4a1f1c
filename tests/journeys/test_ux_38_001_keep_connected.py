"""UX-38-001: a connected agency is tested, renewed, shown when it fails, and left."""

from contextlib import aclosing
from typing import Any

import pytest

from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import Client
from tests.factories.crm import connect, location_of, start_sync, sync
from tests.factories.engine import eventually
from tests.factories.house import House
from tests.factories.recovery import told

ACCOUNTS = """{ ghlAccounts { totalCount nodes { id companyId name status missingScopes { name } accessExpiresAt version
  lastTest { ok latencyMs failures checkedAt } locations(first: 100) { totalCount nodes { id status } } } } }"""
TEST = """mutation ($id: ID!) { testGhlAccount(input: {id: $id}) { userErrors { code message }
  account { id status lastTest { ok latencyMs failures checkedAt } } } }"""
DISCONNECT = """mutation ($id: ID!) { disconnectGhlAccount(input: {id: $id}) {
  userErrors { code } account { status disconnectedAt } } }"""
SMALL = seed.LOCATIONS[2]


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


async def _webhook_jobs(owner: Client) -> list[dict[str, Any]]:
    wanted = {"kinds": ["crm.webhooks.apply"], "includeHousekeeping": True}
    document = "query ($filter: JobFilterInput) { jobs(filter: $filter) { nodes { state } } }"
    nodes: list[dict[str, Any]] = (await owner.ask(document, filter=wanted))["jobs"]["nodes"]
    return nodes


@pytest.mark.story("38-001-S6")
async def test_disconnecting_forgets_the_tokens_and_cancels_syncs(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    location = location_of(account, SMALL.id)
    waiting = await start_sync(owner, location)  # no worker runs: it stays queued
    event = {"type": "ContactUpdate", "locationId": SMALL.id, "companyId": seed.BRIGHT.id, "id": "contact0000000000001"}
    await house.control("POST", "/webhooks", {"event": event})  # its job waits as well
    await eventually(lambda: _webhook_jobs(owner))
    payload = (await owner.ask(DISCONNECT, id=account["id"]))["disconnectGhlAccount"]
    assert payload["userErrors"] == []
    assert payload["account"]["status"] == "DISCONNECTED"
    assert (await owner.job(waiting["id"]))["state"] == "CANCELLED"
    assert {job["state"] for job in await _webhook_jobs(owner)} == {"CANCELLED"}
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
        assert len(await told(owner, "INTEGRATION_DISCONNECTED")) == 1
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
    await owner.ask(TEST, id=account["id"])
    (notice,) = await told(owner, "INTEGRATION_DISCONNECTED")  # once, however often it is tried
    assert notice["title"] == f"{account['name']} must be connected to GoHighLevel again"


@pytest.mark.story("38-001-E3")
async def test_an_agency_that_is_suspended_later_is_shown_as_such(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    await house.control("POST", "/company", {"company": seed.BRIGHT.id, "suspended": True})
    tested = (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]
    assert tested["status"] == "SUSPENDED"
    assert tested["lastTest"]["ok"] is False
    await house.control("POST", "/company", {"company": seed.BRIGHT.id, "suspended": False})
    assert (await owner.ask(TEST, id=account["id"]))["testGhlAccount"]["account"]["status"] == "ACTIVE"
