"""Sending what is queued: claimed by lease, signed, posted, and written down."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import httpx
import sqlalchemy as sa
import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook

from db.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookDeliveryState
from domain import actor as actors
from domain import ids
from domain.actor import Actor
from domain.tenancy.vault import Unsealable, Vault
from domain.unit import Unit
from domain.vendors.http import read_retry_after
from domain.webhooks import endpoints
from domain.webhooks.addresses import BadAddress, look_up

DELAYS = (5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
"""Seconds before each retry, give or take a tenth."""

GIVEN_UP_AFTER = timedelta(days=3)
LEASE = timedelta(seconds=60)
CAPACITY = 50
_PER_ENDPOINT = 5  # so that a slow one does not hold up all others
_TIMEOUT = 15.0
_EXCERPT = 500
_GONE = 410
_PENDING = WebhookDeliveryState.PENDING
_QUEUED = sa.text("webhook_delivery.state = 'pending'")  # as in the index, which is found by these very words
_DUE = (
    _QUEUED,
    WebhookDelivery.next_at <= sa.func.now(),
    sa.or_(WebhookDelivery.lease_until.is_(None), WebhookDelivery.lease_until < sa.func.now()),
)

log = structlog.get_logger(__name__)

ATTEMPTS = Counter("bots_webhook_attempts", "Requests to customers' endpoints", ["outcome"])
SECONDS = Histogram("bots_webhook_seconds", "Time until a customer's endpoint answered", buckets=(0.05, 0.2, 1, 5, 15))


class OpensUnits(Protocol):
    """What opens a unit as an actor: the Runtime."""

    def unit(self, actor: Actor) -> AbstractAsyncContextManager[Unit]:
        """One transaction."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours to send until its lease ends; `number` is its attempt's, and the fence."""

    id: UUID
    account_id: UUID
    endpoint_id: UUID
    number: int
    body: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `status` is None where no answer came, and then `error` says why."""

    status: int | None
    seconds: float
    excerpt: str = ""
    error: str | None = None
    retry_after: float | None = None

    @property
    def accepted(self) -> bool:
        """Any 2xx."""
        return self.status is not None and httpx.codes.is_success(self.status)


class Sender:
    """Posts to customers' endpoints, over connections of their own."""

    def __init__(self, vault: Vault, *, allow_loopback: bool, verify: Any = True) -> None:
        self.allow_loopback = allow_loopback
        self._vault = vault
        self._http = httpx.AsyncClient(
            follow_redirects=False,
            timeout=_TIMEOUT,
            verify=verify,
            # A connection is made to an address: kept alive, it could serve another name behind the same one, unverified.
            limits=httpx.Limits(max_connections=CAPACITY * 2, max_keepalive_connections=0),
            # Through a proxy the address that was checked would not be the one that is reached.
            trust_env=False,
            headers={"User-Agent": "bottleneck-bots-webhooks", "Accept": "*/*", "Content-Type": "application/json"},
        )

    async def send(self, units: OpensUnits, claimed: Claimed) -> None:
        """Send once, and record what came of it. Cancelled or dead before that, it is due again after its lease."""
        actor = actors.system(claimed.account_id)
        async with units.unit(actor) as unit:
            endpoint = await endpoints.find(unit, claimed.endpoint_id)
            if endpoint is None or endpoint.disabled_at is not None:
                await _drop(unit, claimed)
                return
            try:
                secrets = await endpoints.secrets_of(unit, self._vault, endpoint)
            except Unsealable:
                secrets = []
        if secrets:
            answer = await self._post(endpoint.url, claimed, secrets)
        else:
            answer = Answer(None, 0.0, error="The endpoint's secret cannot be read; rotate it.")
        ATTEMPTS.labels("accepted" if answer.accepted else "failed").inc()
        SECONDS.observe(answer.seconds)
        async with units.unit(actor) as unit:
            await record(unit, claimed, answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _post(self, url: str, claimed: Claimed, secrets: Sequence[str]) -> Answer:
        started = time.perf_counter()
        try:
            target = httpx.URL(url)
            headers = _signed(claimed, secrets) | {"Host": target.netloc.decode("ascii")}
            async with asyncio.timeout(_TIMEOUT):
                addresses = await look_up(target, allow_loopback=self.allow_loopback)
                response = await self._first_that_connects(target, addresses, headers, claimed.body.encode())
                excerpt = await _beginning(response)
        except (httpx.HTTPError, OSError, BadAddress) as error:  # TimeoutError is an OSError
            said = error.message if isinstance(error, BadAddress) else f"No answer ({type(error).__name__})"
            return Answer(None, time.perf_counter() - started, error=said)
        except Exception:  # whatever it is, the attempt is written down: it would be due again and again
            log.exception("webhook.failed", delivery_id=str(claimed.id))
            return Answer(None, time.perf_counter() - started, error="It could not be sent.")
        seconds = time.perf_counter() - started
        refused = None if httpx.codes.is_success(response.status_code) else f"Answered {response.status_code}"
        return Answer(response.status_code, seconds, excerpt, refused, read_retry_after(response.headers))

    async def _first_that_connects(
        self, url: httpx.URL, addresses: Sequence[str], headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        """The request goes to an address, and TLS asks for the name."""
        for last, address in enumerate(addresses, 1 - len(addresses)):
            request = self._http.build_request(
                "POST", url.copy_with(host=address), headers=headers, content=body, extensions=_server_name(url)
            )
            try:
                return await self._http.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last == 0:
                    raise
        raise httpx.ConnectError("The name has no address.")


async def claim(session: AsyncSession, *, limit: int) -> list[Claimed]:
    """Lease up to `limit` deliveries that are due, those of each endpoint in turn. Takes a session across accounts."""
    row = WebhookDelivery
    ranked = _first_of_each()
    mine = sa.select(ranked.c.id).order_by(ranked.c.turn, ranked.c.next_at).limit(limit)
    locked = sa.select(row.id).where(row.id.in_(mine), *_DUE).with_for_update(skip_locked=True)
    rows = await session.execute(
        sa.update(row)
        .where(row.id.in_(locked))
        .values(lease_until=sa.func.now() + LEASE, attempts=row.attempts + 1)
        .returning(row.id, row.account_id, row.endpoint_id, row.attempts, row.body)
        .execution_options(synchronize_session=False)
    )
    return [Claimed(*found) for found in rows]


def _first_of_each() -> sa.Subquery:
    """The deliveries of each endpoint that may be sent now, and their turn; however many it has, no more are read."""
    row, endpoints_queued = WebhookDelivery, _queued_endpoints()
    under_way = sa.select(sa.func.count()).where(
        row.endpoint_id == endpoints_queued.c.endpoint_id, row.lease_until > sa.func.now()
    )
    busy = (
        sa.select(endpoints_queued.c.endpoint_id, under_way.scalar_subquery().label("under_way"))
        .where(endpoints_queued.c.endpoint_id.is_not(None))
        .cte("busy")
    )
    first = (
        sa.select(row.id, row.next_at)
        .where(row.endpoint_id == busy.c.endpoint_id, *_DUE)
        .order_by(row.next_at)
        .limit(sa.func.greatest(_PER_ENDPOINT - busy.c.under_way, 0))
        .correlate(busy)
        .lateral("first")
    )
    turn = sa.func.row_number().over(partition_by=busy.c.endpoint_id, order_by=first.c.next_at) + busy.c.under_way
    return (
        sa.select(first.c.id, first.c.next_at, turn.label("turn")).select_from(busy).join(first, sa.true()).subquery("ranked")
    )


def _queued_endpoints() -> sa.CTE:
    """The endpoints that anything is queued for, by hopping through the index: a backlog of one costs no more than a row."""

    def first(*beyond: sa.ColumnElement[bool]) -> Any:
        queued = sa.select(WebhookDelivery.endpoint_id).where(_QUEUED, *beyond).order_by(WebhookDelivery.endpoint_id)
        return queued.limit(1).correlate_except(WebhookDelivery).scalar_subquery()

    hops = sa.select(first().label("endpoint_id")).cte("queued", recursive=True)
    further = sa.select(first(WebhookDelivery.endpoint_id > hops.c.endpoint_id)).where(hops.c.endpoint_id.is_not(None))
    return hops.union_all(further)


async def record(unit: Unit, claimed: Claimed, answer: Answer) -> None:
    """Write the attempt down and decide what follows; nothing where the lease went to somebody else meanwhile."""
    endpoint = await endpoints.lock(unit, claimed.endpoint_id)
    held = sa.select(WebhookDelivery).where(*_held(claimed)).with_for_update()
    delivery = (await unit.session.scalars(held)).one_or_none()
    if endpoint is None or delivery is None:
        return
    unit.session.add(
        WebhookAttempt(
            account_id=claimed.account_id,
            delivery_id=claimed.id,
            number=claimed.number,
            status=answer.status,
            seconds=answer.seconds,
            excerpt=answer.excerpt,
            error=answer.error,
        )
    )
    delivery.lease_until = None
    if answer.accepted:
        delivery.state, delivery.ended_at = WebhookDeliveryState.DELIVERED, _now()
        endpoint.failing_since = None
        return
    delivery.failures += 1
    delay = delay_after(delivery.failures, retry_after=answer.retry_after)
    if delay is None:
        delivery.state, delivery.ended_at = WebhookDeliveryState.FAILED, _now()
    else:
        delivery.next_at = _now() + timedelta(seconds=delay)
    endpoint.failing_since = endpoint.failing_since or _now()
    await unit.session.flush()
    if answer.status == _GONE:
        await endpoints.give_up(unit, endpoint, "It answered 410: it is gone.")
    elif _now() - endpoint.failing_since >= GIVEN_UP_AFTER:
        await endpoints.give_up(unit, endpoint, "It failed for three days without a success.")


async def _drop(unit: Unit, claimed: Claimed) -> None:
    """End what was queued while its endpoint was being disabled, and so escaped that."""
    mine = sa.update(WebhookDelivery).where(*_held(claimed))
    ended = mine.values(state=WebhookDeliveryState.FAILED, ended_at=sa.func.now(), lease_until=None)
    await unit.session.execute(ended.execution_options(synchronize_session=False))


def _held(claimed: Claimed) -> tuple[sa.ColumnElement[bool], ...]:
    """Whether the delivery is still this sender's."""
    row = WebhookDelivery
    return row.id == claimed.id, row.attempts == claimed.number, row.state == _PENDING


def delay_after(failures: int, *, retry_after: float | None = None) -> float | None:
    """Seconds until the next attempt after so many failures; None when there is none. An endpoint may ask for a later one."""
    if failures > len(DELAYS):
        return None
    delay = DELAYS[failures - 1] * random.uniform(0.9, 1.1)  # noqa: S311 -- to spread requests, not to keep a secret
    return max(delay, min(retry_after or 0.0, DELAYS[-1]))


def _signed(claimed: Claimed, secrets: Sequence[str]) -> dict[str, str]:
    message_id, at = ids.encode("whd", claimed.id), _now()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, claimed.body) for secret in secrets),
    }


def _server_name(url: httpx.URL) -> dict[str, Any]:
    return {"sni_hostname": url.raw_host.decode("ascii")} if url.scheme == "https" else {}


async def _beginning(response: httpx.Response) -> str:
    """What the answer's body begins with, printable; the rest is not read."""
    read = b""
    try:
        async for chunk in response.aiter_bytes():
            read += chunk
            if len(read) >= _EXCERPT:
                break
    finally:
        await response.aclose()
    text = read.decode("utf-8", errors="replace")[:_EXCERPT]
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _now() -> datetime:
    return datetime.now(UTC)
