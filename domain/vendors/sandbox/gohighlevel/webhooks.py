"""Signed webhooks: delivered in the background, in order, and tried again only after a 429."""

import asyncio
import base64
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.contact_book import iso

RETRY_SECONDS = 600.0
RETRIES = 6
KEPT = 1_000
"""How many deliveries the log keeps."""

Signing = Literal["good", "forged", "missing", "not_available"]


@dataclass(slots=True)
class Delivery:
    """One webhook. `status` is the receiver's last answer, None before one and where none came (`error` says why)."""

    webhook_id: str
    event: str
    body: bytes
    headers: dict[str, str]
    attempts: int = 0
    status: int | None = None
    error: str | None = None
    done: bool = False

    def describe(self) -> Json:
        """The delivery as the control endpoint shows it."""
        return {
            "webhookId": self.webhook_id,
            "type": self.event,
            "attempts": self.attempts,
            "status": self.status,
            "error": self.error,
            "done": self.done,
        }


class Webhooks:
    """Signs and delivers. `url` may be changed at any time; while it is None, events are dropped.

    `now` is the sandbox's clock in seconds; after moving it, call `poke`, so that retries which are due start.
    """

    def __init__(self, *, seed: bytes | None, url: str | None, now: Callable[[], float]) -> None:
        self.url = url
        self.log: deque[Delivery] = deque(maxlen=KEPT)
        self._key = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        self._now = now
        self._waiting: deque[Delivery] = deque()
        self._later: list[tuple[float, int, Delivery]] = []
        self._scheduled = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def public_key(self) -> str:
        """The key that verifies the signatures, base64 of its DER form."""
        return base64.b64encode(self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def send(
        self,
        event: Json,
        *,
        timestamp: float | None = None,
        webhook_id: str | None = None,
        signing: Signing = "good",
    ) -> Delivery | None:
        """Deliver `event`, a flat payload with its `type`, soon; None while there is no URL.

        `timestamp` (seconds), `webhook_id` and `signing` are for what a receiver must refuse.
        """
        if self.url is None:
            return None
        payload = {
            **event,
            "timestamp": iso(round((self._now() if timestamp is None else timestamp) * 1000)),
            "webhookId": webhook_id or str(uuid4()),
        }
        body = orjson.dumps(payload)
        headers = {"content-type": "application/json", **self._signature(body, signing)}
        delivery = Delivery(payload["webhookId"], str(event.get("type")), body, headers)
        self.log.append(delivery)
        self._waiting.append(delivery)
        self.poke()
        return delivery

    def poke(self) -> None:
        """Look for work, starting the background task when there is none yet."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._deliver())
        self._wake.set()

    def reset(self) -> None:
        """Forget what was sent and what waits."""
        self.log.clear()
        self._waiting.clear()
        self._later.clear()

    async def close(self) -> None:
        """Stop delivering."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _signature(self, body: bytes, signing: Signing) -> dict[str, str]:
        if signing == "missing":
            return {}
        if signing == "not_available":
            return {"x-ghl-signature": "N/A"}
        key = self._key if signing == "good" else Ed25519PrivateKey.generate()
        return {"x-ghl-signature": base64.b64encode(key.sign(body)).decode()}

    async def _deliver(self) -> None:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            while True:
                self._wake.clear()
                self._collect_due()
                while self._waiting:
                    await self._attempt(http, self._waiting.popleft())
                await self._until_due()

    def _collect_due(self) -> None:
        while self._later and self._later[0][0] <= self._now():
            self._waiting.append(heapq.heappop(self._later)[2])

    async def _until_due(self) -> None:
        seconds = max(0.0, self._later[0][0] - self._now()) if self._later else None
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _attempt(self, http: httpx.AsyncClient, delivery: Delivery) -> None:
        if self.url is None:
            return
        delivery.attempts += 1
        try:
            answer = await http.post(self.url, content=delivery.body, headers=delivery.headers)
        except httpx.HTTPError as error:
            delivery.error, delivery.done = type(error).__name__, True
            return
        delivery.status = answer.status_code
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS and delivery.attempts <= RETRIES:
            self._scheduled += 1
            heapq.heappush(self._later, (self._now() + RETRY_SECONDS, self._scheduled, delivery))
        else:
            delivery.done = True
