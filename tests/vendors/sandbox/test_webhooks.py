"""Webhooks: what is sent, how it is signed, and in which order."""

import base64
from collections.abc import AsyncIterator

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from domain.vendors.sandbox.gohighlevel import seed
from domain.vendors.sandbox.options import Options
from tests.vendors.sandbox.harness import Sandbox, running, until
from tests.vendors.standin import served

FIRST = f"/contacts/{seed.contact_id(seed.LARGE, 0)}"


class Receiver:
    """Collects webhooks; answers the statuses in `statuses`, then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.received: list[tuple[bytes, str | None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.received.append((await request.body(), request.headers.get("x-ghl-signature")))
        await Response(status_code=self.statuses.pop(0) if self.statuses else 200)(scope, receive, send)

    @property
    def types(self) -> list[str]:
        return [orjson.loads(body)["type"] for body, _ in self.received]


@pytest.fixture
async def receiver(sandbox: Sandbox) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with served(receiver) as url:
        receiver.url = url
        await sandbox.control("POST", "webhooks/url", {"url": url})
        yield receiver
        await sandbox.control("POST", "webhooks/url", {"url": None})


async def _public_key(sandbox: Sandbox) -> Ed25519PublicKey:
    key = load_der_public_key(base64.b64decode((await sandbox.control("GET", "webhooks"))["publicKey"]))
    assert isinstance(key, Ed25519PublicKey)
    return key


async def test_a_write_is_announced_and_signed(sandbox: Sandbox, receiver: Receiver) -> None:
    content = {"locationId": seed.LARGE.id, "email": "new@x.example", "firstName": "New", "tags": ["a"]}
    made = (await sandbox.call("POST", "/contacts/", json=content)).json()["contact"]
    await until(lambda: len(receiver.received) == 1)
    body, signature = receiver.received[0]
    (await _public_key(sandbox)).verify(base64.b64decode(signature or ""), body)
    event = orjson.loads(body)
    assert (event["type"], event["id"], event["locationId"]) == ("ContactCreate", made["id"], seed.LARGE.id)
    assert (event["email"], event["tags"]) == ("new@x.example", ["a"])
    assert event["webhookId"]
    assert event["timestamp"].endswith("Z")


async def test_events_keep_their_order(sandbox: Sandbox, receiver: Receiver) -> None:
    await sandbox.call("PUT", FIRST, json={"city": "Lyon"})
    await sandbox.call("PUT", FIRST, json={"tags": ["a"], "dnd": False})
    await sandbox.call("POST", f"{FIRST}/tags", json={"tags": ["b"]})
    await sandbox.call("POST", f"{FIRST}/notes", json={"body": "n"})
    await sandbox.call("DELETE", FIRST)
    await until(lambda: len(receiver.received) == 7)
    assert receiver.types == [
        "ContactUpdate",
        *("ContactUpdate", "ContactTagUpdate", "ContactDndUpdate"),
        "ContactTagUpdate",
        "NoteCreate",
        "ContactDelete",
    ]


async def test_opportunities_appointments_and_installs_are_announced(sandbox: Sandbox, receiver: Receiver) -> None:
    deal = seed.make_id(seed.LARGE.id, "opportunity", 0)
    await sandbox.call("PUT", f"/opportunities/{deal}", json={"monetaryValue": 5, "status": "lost"})
    event = seed.make_id(seed.LARGE.id, "event", 0)
    await sandbox.call("PUT", f"/calendars/events/appointments/{event}", json={"title": "Moved"})
    await sandbox.authorize()
    await sandbox.control("POST", "uninstall", {"company": seed.BRIGHT.id})
    await until(lambda: len(receiver.received) == 6)
    assert receiver.types == [
        *("OpportunityUpdate", "OpportunityMonetaryValueUpdate", "OpportunityStatusUpdate"),
        *("AppointmentUpdate", "INSTALL", "UNINSTALL"),
    ]
    assert orjson.loads(receiver.received[3][0])["appointment"]["title"] == "Moved"
    assert orjson.loads(receiver.received[4][0])["companyId"] == seed.BRIGHT.id


async def test_only_429_is_tried_again_and_later(sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.statuses = [429, 500, 200, 429]
    for number in range(3):
        await sandbox.control("POST", "webhooks", {"event": {"type": f"Number{number}"}})
    await until(lambda: len(receiver.received) == 3)
    await sandbox.control("POST", "clock", {"seconds": 601})
    await until(lambda: len(receiver.received) == 4)
    await sandbox.control("POST", "clock", {"seconds": 601})
    await until(lambda: len(receiver.received) == 5)
    assert receiver.types == ["Number0", "Number1", "Number2", "Number0", "Number0"]
    await until(lambda: all(delivery.done for delivery in sandbox.world.webhooks.log))
    log = (await sandbox.control("GET", "webhooks"))["deliveries"]
    assert [(each["attempts"], each["status"]) for each in log] == [(3, 200), (1, 500), (1, 200)]


async def test_a_forged_and_an_unsigned_event_can_be_sent(sandbox: Sandbox, receiver: Receiver) -> None:
    for signing in ("forged", "missing", "not_available"):
        await sandbox.control("POST", "webhooks", {"event": {"type": "ContactCreate"}, "signing": signing})
    await until(lambda: len(receiver.received) == 3)
    forged, missing, not_available = receiver.received
    with pytest.raises(InvalidSignature):
        (await _public_key(sandbox)).verify(base64.b64decode(forged[1] or ""), forged[0])
    assert (missing[1], not_available[1]) == (None, "N/A")


async def test_an_old_and_a_repeated_event_can_be_sent(sandbox: Sandbox, receiver: Receiver) -> None:
    order = {"event": {"type": "ContactCreate"}, "webhookId": "again", "age_seconds": 3600}
    await sandbox.control("POST", "webhooks", order)
    await sandbox.control("POST", "webhooks", {**order, "age_seconds": None})
    await until(lambda: len(receiver.received) == 2)
    old, new = (orjson.loads(body) for body, _ in receiver.received)
    assert old["webhookId"] == new["webhookId"] == "again"
    assert old["timestamp"] < new["timestamp"]


async def test_an_unreachable_receiver_loses_the_event(sandbox: Sandbox) -> None:
    await sandbox.control("POST", "webhooks/url", {"url": "http://127.0.0.1:9"})
    await sandbox.control("POST", "webhooks", {"event": {"type": "ContactCreate"}})
    await until(lambda: all(delivery.done for delivery in sandbox.world.webhooks.log))
    (delivery,) = (await sandbox.control("GET", "webhooks"))["deliveries"]
    assert (delivery["status"], delivery["error"]) == (None, "ConnectError")


async def test_the_key_can_be_given() -> None:
    options = Options(webhook_seed=bytes(range(32)))
    async with running(options) as one, running(options) as two:
        assert one.world.webhooks.public_key == two.world.webhooks.public_key
