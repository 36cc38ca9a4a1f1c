"""GoHighLevel's webhooks as they come in by HTTP: proved genuine, kept once, answered at once, and applied by a job."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.runtime import WEBHOOK_PATH
from domain.vendors.sandbox.gohighlevel import seed
from jobs import worker
from tests.factories.crm import connect, contacts, location_of
from tests.factories.house import WEBHOOK_KEY, House
from tests.factories.people import Person, new_owner

PLACE = seed.LOCATIONS[1].id  # nobody is in it until a test puts somebody there
COMPANY = seed.BRIGHT.id
JOBS = """{ jobs(filter: {kinds: ["crm.webhooks.apply"]}) { nodes { id requestId originType originName } } }"""


def event(kind: str = "ContactCreate", *, age: float = 0, **more: Any) -> dict[str, Any]:
    moment = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    return {"type": kind, "webhookId": str(uuid4()), "timestamp": moment, "locationId": PLACE, "companyId": COMPANY, **more}


async def send(
    house: House, payload: object, *, key: Ed25519PrivateKey = WEBHOOK_KEY, signature: str | None = None
) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    made = base64.b64encode(key.sign(body)).decode() if signature is None else signature
    return await house.http.post(WEBHOOK_PATH, content=body, headers={"X-GHL-Signature": made})


async def listening(house: House) -> Person:
    """An owner who has connected the agency and chosen the place for syncing."""
    owner = await new_owner(house)
    place = location_of(await connect(owner.client, house), PLACE)
    await owner.ask(f'mutation {{ updateGhlLocations(input: {{ids: ["{place}"], active: true}}) {{ userErrors {{ code }} }} }}')
    return owner


async def jobs_of(owner: Person, sent: dict[str, Any]) -> list[dict[str, Any]]:
    """The webhook's jobs in the owner's account. The sandbox sends webhooks of its own, too."""
    nodes = (await owner.ask(JOBS))["jobs"]["nodes"]
    return [job for job in nodes if job["requestId"] == sent["webhookId"]]


async def applied(house: House, owner: Person, sent: dict[str, Any]) -> str:
    """Send a webhook; the state in which its job comes to rest."""
    answer = await send(house, sent)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    [job] = await jobs_of(owner, sent)
    assert (job["originType"], job["originName"]) == ("VENDOR_WEBHOOK", "GoHighLevel")
    return str((await owner.client.until(job["id"], "SUCCEEDED", "FAILED", "WAITING"))["state"])


async def test_a_contact_follows_its_webhooks(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POP_SECONDS", 0.1)
    owner = await listening(shared_house)
    row = {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@webhook.example"}
    [contact_id] = (await shared_house.control("POST", "/contacts", {"location": PLACE, "contacts": [row]}))["ids"]
    async with shared_house.workers():
        assert await applied(shared_house, owner, event("ContactCreate", id=contact_id)) == "SUCCEEDED"
        [contact] = await contacts(owner.client, email="ada@webhook.example")
        assert (contact["displayName"], contact["source"], contact["syncState"]) == ("Ada Lovelace", "GHL", "SYNCED")

        await shared_house.control("PATCH", "/contacts", {"location": PLACE, "ids": [contact_id], "set": {"city": "London"}})
        # What the webhook says does not count, what the vendor says does.
        assert await applied(shared_house, owner, event("ContactUpdate", id=contact_id, city="Paris")) == "SUCCEEDED"
        [contact] = await contacts(owner.client, email="ada@webhook.example")
        assert contact["city"] == "London"

        await shared_house.control("DELETE", "/contacts", {"location": PLACE, "ids": [contact_id]})
        # An update that comes late finds the same as the news of the deletion.
        for kind in ("ContactDelete", "ContactUpdate"):
            assert await applied(shared_house, owner, event(kind, id=contact_id)) == "SUCCEEDED"
        [contact] = await contacts(owner.client, email="ada@webhook.example")
        assert contact["syncState"] == "REMOTE_DELETED"


async def test_every_account_that_syncs_the_place_is_told(shared_house: House) -> None:
    one, other, stranger = await listening(shared_house), await listening(shared_house), await new_owner(shared_house)
    sent = event(id="x")
    await send(shared_house, sent)
    assert [len(await jobs_of(owner, sent)) for owner in (one, other, stranger)] == [1, 1, 0]


async def test_a_webhook_that_comes_twice_is_taken_once(shared_house: House) -> None:
    owner = await listening(shared_house)
    payload = event(id="x")
    answers = [(await send(shared_house, payload)).json() for _ in range(3)]
    assert answers == [{"received": True}, {"received": False}, {"received": False}]
    assert len(await jobs_of(owner, payload)) == 1


@pytest.mark.parametrize("signature", ["", "x", "ü", "AAAA", base64.b64encode(b"0" * 64).decode()])
async def test_what_is_not_signed_is_refused(shared_house: House, signature: str) -> None:
    owner = await listening(shared_house)
    headers = {b"X-GHL-Signature": signature.encode()}
    sent = event(id="x")
    answer = await shared_house.http.post(WEBHOOK_PATH, content=orjson.dumps(sent), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "API-004")
    assert await jobs_of(owner, sent) == []


async def test_a_signature_is_of_this_body_by_the_vendor_s_key(shared_house: House) -> None:
    assert (await shared_house.http.post(WEBHOOK_PATH, content=orjson.dumps(event()))).status_code == 401
    assert (await send(shared_house, event(), key=Ed25519PrivateKey.generate())).status_code == 401
    of_another = base64.b64encode(WEBHOOK_KEY.sign(orjson.dumps(event()))).decode()
    assert (await send(shared_house, event(), signature=of_another)).status_code == 401


@pytest.mark.parametrize("age", [301, 86_400, -301])
async def test_what_is_old_or_of_the_future_is_refused(shared_house: House, age: float) -> None:
    answer = await send(shared_house, event(age=age))
    assert (answer.status_code, answer.json()["code"]) == (400, "API-002")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        [],
        {},
        event(type=None),
        event(type="x\x00"),
        event(webhookId=7),
        event(webhookId="x\x00"),
        event(webhookId="x" * 5_000),
        event(timestamp="yesterday"),
        event(timestamp=None),
    ],
)
async def test_garbage_with_a_signature_is_refused(shared_house: House, payload: object) -> None:
    answer = await send(shared_house, payload)
    assert (answer.status_code, answer.json()["code"]) == (400, "API-002")


@pytest.mark.parametrize(
    "more",
    [
        {"id": "\x00"},
        {"id": "x" * 5_000},
        {"id": None},
        {"id": {"a": 1}},
        {"locationId": "\x00"},
        {"locationId": []},
        {"companyId": "\x00"},
    ],
)
async def test_odd_values_are_kept_or_left_and_never_fail(shared_house: House, more: dict[str, Any]) -> None:
    """To a failure GoHighLevel would answer by sending the same again."""
    await listening(shared_house)
    for kind in ("ContactUpdate", "UNINSTALL", "SomethingNew"):
        answer = await send(shared_house, event(kind, **more))
        assert (answer.status_code, answer.json()) == (200, {"received": True})


async def test_what_is_too_large_is_not_read_to_its_end(shared_house: House) -> None:
    answer = await send(shared_house, b"x" * ((1 << 20) + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "API-112")
    assert (await send(shared_house, event(padding="x" * 1_000_000))).status_code == 200


async def test_only_posts_are_webhooks(shared_house: House) -> None:
    assert (await shared_house.http.get(WEBHOOK_PATH)).status_code == 405


async def test_what_cannot_be_kept_is_asked_for_again(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """GoHighLevel tries again after a 429 and after nothing else."""

    async def fail(*_: object) -> None:
        raise OSError("the database is away")

    payload = event(id="x")
    with monkeypatch.context() as patch:
        patch.setattr("domain.crm.webhooks.receive", fail)
        answer = await send(shared_house, payload)
    assert (answer.status_code, answer.json()["code"]) == (429, "API-100")
    assert "away" not in answer.text
    assert (await send(shared_house, payload)).json() == {"received": True}


async def test_an_uninstalled_app_must_be_authorised_again(house: House) -> None:
    owner = await listening(house)
    await house.control("POST", "/uninstall", {"company": COMPANY})
    sent = event("UNINSTALL")
    del sent["locationId"]
    async with house.workers():
        assert await applied(house, owner, sent) in {"SUCCEEDED", "WAITING"}
    [agency] = (await owner.ask("{ ghlAccounts { nodes { status } } }"))["ghlAccounts"]["nodes"]
    assert agency["status"] == "REAUTHORIZATION_REQUIRED"
