"""Outbound webhooks: what is refused, who may do what, and senders that die or work side by side."""

import asyncio

import pytest

from domain.webhooks import sending
from tests.factories.client import Client
from tests.factories.house import House
from tests.factories.people import add_person, new_owner
from tests.factories.webhooks import ALL, CREATE, DELETE, LOG, ROTATE, TEST, UPDATE, create, database, hook, log


async def test_a_sender_that_dies_is_followed_by_another_when_its_lease_lapses(house: House, owner: Client) -> None:
    url = hook(house)
    endpoint, _ = await create(owner, url)
    await owner.ask(TEST, input={"id": endpoint["id"]})
    async with house.runtime.database.system_across_accounts() as session:
        (dead,) = await sending.claim(session, limit=10)
    async with house.runtime.database.system_across_accounts() as session:
        assert await sending.claim(session, limit=10) == []
    async with database(house) as connection:
        await connection.execute("update webhook_delivery set lease_until = now()")
    async with house.runtime.database.system_across_accounts() as session:
        (alive,) = await sending.claim(session, limit=10)
    assert (alive.id, alive.number) == (dead.id, dead.number + 1)
    await house.runtime.webhooks.send(house.runtime, dead)  # it was only frozen: what it reports is not taken
    (delivery,) = (await log(owner, endpoint))["deliveries"]["nodes"]
    assert (delivery["state"], delivery["attempts"]) == ("PENDING", [])
    await house.runtime.webhooks.send(house.runtime, alive)
    (delivery,) = (await log(owner, endpoint))["deliveries"]["nodes"]
    assert (delivery["state"], [attempt["number"] for attempt in delivery["attempts"]]) == ("DELIVERED", [2])


async def test_senders_at_once_claim_each_delivery_once(house: House, owner: Client) -> None:
    for name in ("a", "b", "c"):
        endpoint, _ = await create(owner, hook(house, name))
        for _ in range(4):
            await owner.ask(TEST, input={"id": endpoint["id"]})

    async def take() -> list[sending.Claimed]:
        async with house.runtime.database.system_across_accounts() as session:
            return await sending.claim(session, limit=10)

    claimed = [each.id for found in await asyncio.gather(*(take() for _ in range(4))) for each in found]
    claimed += [each.id for each in await take()]  # what two of them reached for at once is left to the next
    assert len(claimed) == len(set(claimed)) == 12


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/x", "https"),
        ("ftp://hooks.example.com", "https"),
        ("https://10.0.0.7/x", "public"),
        ("https://169.254.169.254/latest/meta-data", "public"),
        ("https://[::ffff:10.0.0.1]/", "public"),
        ("https://[64:ff9b::a00:1]/", "public"),
        ("https://[fd00::1]/", "public"),
        ("https://user:pw@hooks.example.com/", "password"),
        ("https://", "host"),
        ("not a url", "https"),
        ("https://exa mple", "host"),
    ],
)
async def test_a_bad_url_is_refused(house: House, owner: Client, url: str, why: str) -> None:
    given = {"url": url, "eventTypes": ALL}
    (error,) = (await owner.ask(CREATE, input=given))["createWebhookEndpoint"]["userErrors"]
    assert (error["code"], error["field"]) == ("WHK-001", ["url"])
    assert why in error["message"]


async def test_who_may_not_change_settings_sees_and_does_nothing(house: House) -> None:
    boss = await new_owner(house)
    endpoint, _ = await create(boss.client, hook(house))
    member = await add_person(house, boss, "MEMBER")
    for document, given in (
        (CREATE, {"url": hook(house), "eventTypes": ALL}),
        (UPDATE, {"id": endpoint["id"], "expectedVersion": 1}),
        (ROTATE, {"id": endpoint["id"]}),
        (DELETE, {"id": endpoint["id"]}),
        (TEST, {"id": endpoint["id"]}),
    ):
        ((payload,),) = [(await member.ask(document, input=given)).values()]
        assert [error["code"] for error in payload["userErrors"]] == ["API-004"]
    stranger = await new_owner(house)
    (payload,) = (await stranger.ask(DELETE, input={"id": endpoint["id"]})).values()
    assert [error["code"] for error in payload["userErrors"]] == ["API-003"]
    assert (await stranger.ask(LOG, id=endpoint["id"]))["node"] is None


async def test_an_endpoint_that_is_made_with_the_same_key_is_made_once(house: House, owner: Client) -> None:
    given = {"url": hook(house), "eventTypes": ["JOB_FAILED"], "idempotencyKey": "crm"}
    first, again = [(await owner.ask(CREATE, input=given))["createWebhookEndpoint"] for _ in range(2)]
    assert first["webhookEndpoint"]["eventTypes"] == ["JOB_FAILED"]
    assert again == first, "whoever lost the answer has the secret, too"
    listed = await owner.ask("{ webhookEndpoints(first: 5) { totalCount } }")
    assert listed["webhookEndpoints"]["totalCount"] == 1
    other = (await owner.ask(CREATE, input={**given, "url": hook(house, "other")}))["createWebhookEndpoint"]
    assert [error["code"] for error in other["userErrors"]] == ["API-008"]
    await owner.ask(ROTATE, input={"id": first["webhookEndpoint"]["id"]})
    assert (await owner.ask(CREATE, input=given))["createWebhookEndpoint"]["secret"] is None


async def test_stale_changes_and_too_many_endpoints_are_refused_and_a_deleted_one_is_gone(house: House, owner: Client) -> None:
    endpoint, _ = await create(owner, hook(house))
    stale = {"id": endpoint["id"], "expectedVersion": 7, "description": "x"}
    (payload,) = (await owner.ask(UPDATE, input=stale)).values()
    assert [error["code"] for error in payload["userErrors"]] == ["API-009"]
    (payload,) = (await owner.ask(UPDATE, input={"id": endpoint["id"], "expectedVersion": 1, "eventTypes": []})).values()
    assert [error["field"] for error in payload["userErrors"]] == [["eventTypes"]]
    for number in range(9):
        await create(owner, hook(house, str(number)))
    (payload,) = (await owner.ask(CREATE, input={"url": hook(house), "eventTypes": ALL})).values()
    assert [error["code"] for error in payload["userErrors"]] == ["WHK-003"]
    (payload,) = (await owner.ask(DELETE, input={"id": endpoint["id"]})).values()
    assert payload["deletedId"] == endpoint["id"]
    assert (await owner.ask(LOG, id=endpoint["id"]))["node"] is None
    listed = await owner.ask("{ webhookEndpoints(first: 5) { totalCount nodes { id } pageInfo { hasNextPage } } }")
    assert (listed["webhookEndpoints"]["totalCount"], len(listed["webhookEndpoints"]["nodes"])) == (9, 5)


async def test_the_audit_log_has_hosts_and_not_urls_that_may_be_secret(house: House, owner: Client) -> None:
    endpoint, _ = await create(owner, "https://hooks.example/t0ken?key=t0ken")
    changed = {"id": endpoint["id"], "expectedVersion": 1, "url": "https://other.example/t0ken"}
    assert (await owner.ask(UPDATE, input=changed))["updateWebhookEndpoint"]["userErrors"] == []
    assert (await owner.ask(DELETE, input={"id": endpoint["id"]}))["deleteWebhookEndpoint"]["userErrors"] == []
    async with database(house) as connection:
        rows = await connection.fetch("select row_to_json(a)::text as line from audit_log as a where action like 'webhook.%'")
    lines = " ".join(row["line"] for row in rows)
    assert len(rows) == 3
    assert "hooks.example" in lines
    assert "other.example" in lines
    assert "t0ken" not in lines
