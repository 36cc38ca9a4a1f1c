"""Outbound webhooks, as a customer has them: an endpoint, its events, its log; and a receiver that misbehaves."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from domain import ids
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.jobs.retention import Retain
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from domain.webhooks import sending
from jobs.deliveries import deliver
from jobs.webhooks import outlet
from tests.factories.client import Client
from tests.factories.engine import Scripted, eventually, failing, play
from tests.factories.house import House
from tests.factories.people import new_owner
from tests.factories.rows import account_id_of, unit_of
from tests.factories.webhooks import (
    REDELIVER,
    ROTATE,
    TEST,
    UPDATE,
    create,
    database,
    hook,
    log,
    order,
    received,
    verified,
)


@pytest.fixture
async def sending_house(house: House) -> AsyncIterator[House]:
    """A house whose webhooks go out."""
    task = asyncio.create_task(deliver(outlet(house.runtime)))
    yield house
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def run_job(house: House, client: Client, args: JobArgs, **options: Any) -> str:
    """Ask for a job; its global id."""
    async with unit_of(house, await account_id_of(client)) as unit:
        job = (await commands.enqueue(unit, args, **options)).job
    return ids.encode("job", job.id)


async def succeed(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")


async def fall_short(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Half", partial=True)


async def test_a_job_s_end_is_told_with_a_signature_and_no_secrets(sending_house: House, owner: Client) -> None:
    url = hook(sending_house)
    endpoint, secret = await create(owner, url)
    assert secret.startswith("whsec_")
    async with sending_house.workers():
        job_id = await run_job(sending_house, owner, play(succeed), title="Newsletter")
        (request,) = await received(url)

        async def delivered() -> dict[str, Any] | None:
            found = await log(owner, endpoint, state="DELIVERED")
            return found if found["deliveries"]["totalCount"] else None

        (delivery,) = (await eventually(delivered))["deliveries"]["nodes"]
    event = verified(secret, request)
    assert event["type"] == "job.completed"
    assert event["data"]["jobId"] == job_id
    assert event["data"] | {"state": "SUCCEEDED", "title": "Newsletter", "kind": "test.scripted", "attempt": 1} == event["data"]
    assert event["data"]["errorCode"] is None
    assert datetime.fromisoformat(event["data"]["finishedAt"]) <= datetime.now(UTC)
    assert not {"args", "result", "message", "origin"} & event["data"].keys()
    with pytest.raises(WebhookVerificationError):
        verified(f"whsec_{base64.b64encode(b'x' * 24).decode()}", request)

    assert delivery["id"] == request["headers"]["webhook-id"]
    assert (delivery["jobId"], delivery["body"]) == (job_id, request["body"])
    (attempt,) = delivery["attempts"]
    assert (attempt["number"], attempt["status"], attempt["excerpt"], attempt["error"]) == (1, 200, "ok", None)
    assert attempt["seconds"] > 0


@pytest.mark.parametrize(
    ("script", "events"),
    [
        (play(fall_short), ["job.partial"]),
        (failing(RuntimeError("no")), ["job.retrying", "job.cancelled"]),
    ],
)
async def test_every_move_that_matters_has_its_event(
    sending_house: House, owner: Client, script: Scripted, events: list[str]
) -> None:
    url = hook(sending_house)
    _, secret = await create(owner, url)
    async with sending_house.workers():
        job_id = await run_job(sending_house, owner, script)
        first = [verified(secret, request) for request in await received(url)]
        if "job.cancelled" in events:
            assert first[0]["data"]["errorCode"] == "API-100"
            assert datetime.fromisoformat(first[0]["data"]["nextAttemptAt"]) > datetime.now(UTC)
            await owner.ask("mutation ($i: CancelJobInput!) { cancelJob(input: $i) { job { id } } }", i={"id": job_id})
        told = [verified(secret, request) for request in await received(url, len(events))]
    assert [event["type"] for event in told] == events


async def test_only_what_was_chosen_is_sent_and_nothing_of_other_accounts_or_the_product_s_own(
    sending_house: House, owner: Client
) -> None:
    chosen, other = hook(sending_house, "chosen"), hook(sending_house, "other")
    await create(owner, chosen, ["JOB_PARTIAL"])
    stranger = await new_owner(sending_house)
    await create(stranger.client, other)
    async with sending_house.workers():
        await run_job(sending_house, owner, Retain())
        done = await run_job(sending_house, owner, play(succeed))
        await owner.until(done)
        await run_job(sending_house, owner, play(fall_short))
        (request,) = await received(chosen)
        assert orjson.loads(request["body"])["type"] == "job.partial"
    async with httpx.AsyncClient() as http:
        assert (await http.get(other)).json() == []


async def test_a_failed_delivery_is_tried_again_with_the_same_id_and_bytes(
    sending_house: House, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "DELAYS", (0.05, 0.05, 0.05))
    url = hook(sending_house)
    endpoint, secret = await create(owner, url)
    await order(url, status=503, times=2, body="down\x00for <maintenance>")
    payload = (await owner.ask(TEST, input={"id": endpoint["id"]}))["testWebhookEndpoint"]
    requests = await received(url, 3)
    assert len({request["headers"]["webhook-id"] for request in requests}) == 1
    assert {request["body"] for request in requests} == {payload["webhookDelivery"]["body"]}
    assert [verified(secret, request)["type"] for request in requests] == ["webhook.test"] * 3

    async def delivered() -> dict[str, Any] | None:
        (node,) = (await log(owner, endpoint))["deliveries"]["nodes"]
        return node if node["state"] == "DELIVERED" else None

    delivery = await eventually(delivered)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [503, 503, 200]
    assert delivery["attempts"][0]["excerpt"] == "down for <maintenance>"
    assert delivery["attempts"][0]["error"] == "Answered 503"
    assert (await log(owner, endpoint))["failingSince"] is None


async def test_after_its_retries_a_delivery_has_failed_until_somebody_sends_it_again(
    sending_house: House, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "DELAYS", (0.05, 0.05))
    url = hook(sending_house)
    endpoint, _ = await create(owner, url)
    await order(url, status=302, times=None, headers={"location": hook(sending_house, "elsewhere")})
    await owner.ask(TEST, input={"id": endpoint["id"]})

    async def failed() -> dict[str, Any] | None:
        nodes = (await log(owner, endpoint, state="FAILED"))["deliveries"]["nodes"]
        return nodes[0] if nodes else None

    delivery = await eventually(failed)
    assert [attempt["status"] for attempt in delivery["attempts"]] == [302] * 3
    assert (await log(owner, endpoint))["failingSince"] is not None
    async with httpx.AsyncClient() as http:
        assert (await http.get(hook(sending_house, "elsewhere"))).json() == []  # redirects are not followed
    await order(url, times=0)
    again = (await owner.ask(REDELIVER, input={"id": delivery["id"]}))["redeliverWebhook"]
    assert (again["userErrors"], again["webhookDelivery"]["state"]) == ([], "PENDING")
    requests = await received(url, 4)
    assert len({request["headers"]["webhook-id"] for request in requests}) == 1


async def test_the_same_key_sends_one_test(sending_house: House, owner: Client) -> None:
    endpoint, _ = await create(owner, hook(sending_house))
    asked = {"id": endpoint["id"], "idempotencyKey": "once"}
    first, second = [(await owner.ask(TEST, input=asked))["testWebhookEndpoint"] for _ in range(2)]
    assert first["webhookDelivery"]["id"] == second["webhookDelivery"]["id"]
    assert (await log(owner, endpoint))["deliveries"]["totalCount"] == 1


async def test_for_a_day_after_a_rotation_both_secrets_sign(sending_house: House, owner: Client) -> None:
    url = hook(sending_house)
    endpoint, old = await create(owner, url)
    rotated = (await owner.ask(ROTATE, input={"id": endpoint["id"]}))["rotateWebhookSecret"]
    new = rotated["secret"]
    assert new != old
    left = datetime.fromisoformat(rotated["webhookEndpoint"]["previousUntil"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    await owner.ask(TEST, input={"id": endpoint["id"]})
    (request,) = await received(url)
    assert verified(old, request) == verified(new, request)
    async with database(sending_house) as connection:
        await connection.execute("update webhook_endpoint set previous_until = now()")
    await owner.ask(TEST, input={"id": endpoint["id"]})
    request = (await received(url, 2))[1]
    assert verified(new, request)
    with pytest.raises(WebhookVerificationError):
        verified(old, request)


async def test_secrets_lie_encrypted_and_are_shown_once(sending_house: House, owner: Client) -> None:
    endpoint, secret = await create(owner, hook(sending_house))
    async with database(sending_house) as connection:
        sealed = await connection.fetchval("select secret from webhook_endpoint")
        audit = await connection.fetch("select details::text from audit_log")
    assert secret.encode() not in sealed
    assert base64.b64decode(secret.removeprefix("whsec_")) not in sealed
    assert not [row for row in audit if secret in row["details"]]
    changed = {"id": endpoint["id"], "expectedVersion": endpoint["version"], "description": "x"}
    assert (await owner.ask(UPDATE, input=changed))["updateWebhookEndpoint"]["secret"] is None


async def test_an_endpoint_that_fails_for_three_days_is_disabled_with_a_notice(
    sending_house: House, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "DELAYS", (0.05, 60.0))
    url = hook(sending_house)
    endpoint, _ = await create(owner, url)
    await order(url, status=500, times=None)
    await owner.ask(TEST, input={"id": endpoint["id"]})
    await received(url, 2)
    async with database(sending_house) as connection:

        async def waits() -> bool:
            return bool(await connection.fetchval("select count(*) from webhook_delivery where failures = 2"))

        await eventually(waits)
        await connection.execute("update webhook_endpoint set failing_since = now() - interval '3 days 1 second'")
        await connection.execute("update webhook_delivery set next_at = now()")

        async def disabled() -> dict[str, Any] | None:
            found = await log(owner, endpoint)
            return found if found["disabledAt"] else None

        found = await eventually(disabled)
        assert "three days" in found["disabledReason"]
        assert {node["state"] for node in found["deliveries"]["nodes"]} == {"FAILED"}
        notices = await connection.fetch("select title, body, path from notice")
    (notice,) = notices
    assert notice["title"] == "A webhook endpoint was disabled"
    assert "to 127.0.0.1 any more" in notice["body"]
    refused = (await owner.ask(TEST, input={"id": endpoint["id"]}))["testWebhookEndpoint"]
    assert refused["userErrors"][0]["code"] == "WHK-002"
    on = {"id": endpoint["id"], "expectedVersion": found["version"], "disabled": False}
    enabled = (await owner.ask(UPDATE, input=on))["updateWebhookEndpoint"]["webhookEndpoint"]
    assert (enabled["disabledAt"], enabled["failingSince"]) == (None, None)


async def test_an_endpoint_that_says_it_is_gone_is_disabled_at_once(sending_house: House, owner: Client) -> None:
    url = hook(sending_house)
    endpoint, _ = await create(owner, url)
    await order(url, status=410, times=None)
    await owner.ask(TEST, input={"id": endpoint["id"]})

    async def disabled() -> str | None:
        reason: str | None = (await log(owner, endpoint))["disabledReason"]
        return reason

    assert "410" in await eventually(disabled)


async def test_a_slow_endpoint_holds_up_no_other(sending_house: House, owner: Client) -> None:
    slow, quick = hook(sending_house, "slow"), hook(sending_house, "quick")
    await order(slow, delay=10, times=None)
    stuck, _ = await create(owner, slow)
    other, _ = await create(owner, quick)
    for _ in range(sending.CAPACITY + 5):
        await owner.ask(TEST, input={"id": stuck["id"]})
    await owner.ask(TEST, input={"id": other["id"]})
    async with asyncio.timeout(5):
        await received(quick)
    async with httpx.AsyncClient() as http:
        assert len((await http.get(slow)).json()) <= 5


async def test_what_a_name_leads_to_is_checked_when_it_is_sent(
    sending_house: House, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was harmless, or could not be checked, when the endpoint was made."""
    url = hook(sending_house).replace("127.0.0.1", "localhost")
    endpoint, _ = await create(owner, url)
    monkeypatch.setattr(sending_house.runtime.webhooks, "allow_loopback", False)  # as in a deployment
    await owner.ask(TEST, input={"id": endpoint["id"]})

    async def tried() -> dict[str, Any] | None:
        (node,) = (await log(owner, endpoint))["deliveries"]["nodes"]
        return node if node["attempts"] else None

    (attempt,) = (await eventually(tried))["attempts"]
    assert (attempt["status"], attempt["error"]) == (None, "localhost leads to an address that is not public.")
    async with httpx.AsyncClient() as http:
        assert (await http.get(hook(sending_house))).json() == []
