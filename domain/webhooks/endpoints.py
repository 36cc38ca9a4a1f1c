"""Where an account wants its events to be sent, and what was sent there."""

import secrets
from base64 import b64encode
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of, new_id
from db.models.notifications import NotificationEvent
from db.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookDeliveryState, WebhookEndpoint
from domain.actor import Scope
from domain.errors import Conflict, Invalid, LimitReached, NotFound
from domain.lookups import by_ids
from domain.notifications.notices import notify
from domain.paging import Order, Page, Window, paginate
from domain.tenancy import idempotency
from domain.tenancy.accounts import StaleVersion
from domain.tenancy.vault import Vault
from domain.unit import Unit
from domain.webhooks.addresses import host_of, parse_url
from domain.webhooks.events import TEST, WebhookEvent, envelope

MOST_ENDPOINTS = 10
OVERLAP = timedelta(hours=24)
"""For how long an old secret signs beside the new one."""

_MAX_DESCRIPTION = 200
_SECRET_BYTES = 24
_NEWEST_ENDPOINTS = Order((WebhookEndpoint.created_at, WebhookEndpoint.id), descending=True)
_NEWEST_DELIVERIES = Order((WebhookDelivery.created_at, WebhookDelivery.id), descending=True)


class EndpointDisabled(Conflict):
    """Nothing is sent to a disabled endpoint."""

    code = "WHK-002"


class TooManyEndpoints(LimitReached):
    """An account has at most ten."""

    code = "WHK-003"


async def create(
    unit: Unit,
    vault: Vault,
    *,
    url: str,
    description: str,
    event_types: Collection[WebhookEvent],
    allow_loopback: bool,
    idempotency_key: str | None = None,
) -> tuple[WebhookEndpoint, str | None]:
    """A new endpoint and its secret, which is not shown again, except to who asks with the same key before any rotation.

    Raises Forbidden, Invalid, BadAddress, TooManyEndpoints, KeyReused, NotFound where the key's endpoint was deleted.
    """
    unit.require(Scope.SETTINGS_WRITE)
    asked = {"url": url, "description": description, "eventTypes": frozenset(event_types)}
    made = await idempotency.replay(unit, key=idempotency_key, operation="createWebhookEndpoint", given=asked)
    if made is not None:
        endpoint = await locked(unit, made)
        rotated = endpoint.previous_until is not None
        return endpoint, None if rotated else (await secrets_of(unit, vault, endpoint))[0]
    # One at a time for each account, or two requests at once could exceed the limit.
    await unit.session.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"webhook_endpoint:{unit.account_id}")))
    )
    existing = (await unit.session.execute(sa.select(sa.func.count()).select_from(WebhookEndpoint))).scalar_one()
    if existing >= MOST_ENDPOINTS:
        raise TooManyEndpoints(f"An account has at most {MOST_ENDPOINTS} webhook endpoints.")
    endpoint_id, secret = new_id(), _new_secret()
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        account_id=unit.account_id,
        url=parse_url(url, allow_loopback=allow_loopback),
        description=_described(description),
        event_types=_chosen(event_types),
        secret=await vault.seal(unit, secret, purpose=_purpose(endpoint_id)),
    )
    unit.session.add(endpoint)
    await unit.session.flush()
    unit.audit("webhook.create", subject_type="webhook_endpoint", subject_id=endpoint.id, host=host_of(endpoint.url))
    await idempotency.remember(unit, key=idempotency_key, subject_id=endpoint.id)
    return endpoint, secret


async def update(
    unit: Unit,
    *,
    endpoint_id: UUID,
    expected_version: int,
    url: str | None = None,
    description: str | None = None,
    event_types: Collection[WebhookEvent] | None = None,
    disabled: bool | None = None,
    allow_loopback: bool,
) -> WebhookEndpoint:
    """Change what is given. Enabling forgets the failures. Raises Forbidden, Invalid, NotFound, StaleVersion, BadAddress."""
    unit.require(Scope.SETTINGS_WRITE)
    endpoint = await locked(unit, endpoint_id)
    if endpoint.version != expected_version:
        raise StaleVersion("The endpoint was changed meanwhile.", field=("expectedVersion",))
    before = {"host": host_of(endpoint.url), "events": endpoint.event_types, "disabled": endpoint.disabled_at is not None}
    if url is not None:
        endpoint.url = parse_url(url, allow_loopback=allow_loopback)
    if description is not None:
        endpoint.description = _described(description)
    if event_types is not None:
        endpoint.event_types = _chosen(event_types)
    if disabled is True and endpoint.disabled_at is None:
        await _disable(unit, endpoint, "Somebody of the account disabled it.")
    elif disabled is False:
        endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
    endpoint.version += 1
    await unit.session.flush()
    after = {"host": host_of(endpoint.url), "events": endpoint.event_types, "disabled": endpoint.disabled_at is not None}
    unit.audit("webhook.update", subject_type="webhook_endpoint", subject_id=endpoint.id, before=before, after=after)
    return endpoint


async def delete(unit: Unit, *, endpoint_id: UUID) -> None:
    """Delete an endpoint with its log; what is queued for it is not sent. Raises Forbidden, NotFound."""
    unit.require(Scope.SETTINGS_WRITE)
    endpoint = await locked(unit, endpoint_id)
    await unit.session.delete(endpoint)
    unit.audit("webhook.delete", subject_type="webhook_endpoint", subject_id=endpoint_id, host=host_of(endpoint.url))


async def rotate_secret(unit: Unit, vault: Vault, *, endpoint_id: UUID) -> tuple[WebhookEndpoint, str]:
    """A new secret. The old one signs beside it for a day, so that the receiver can change over. Raises Forbidden, NotFound."""
    unit.require(Scope.SETTINGS_WRITE)
    endpoint = await locked(unit, endpoint_id)
    secret = _new_secret()
    endpoint.previous_secret, endpoint.previous_until = endpoint.secret, datetime.now(UTC) + OVERLAP
    endpoint.secret = await vault.seal(unit, secret, purpose=_purpose(endpoint_id))
    endpoint.version += 1
    await unit.session.flush()
    unit.audit("webhook.rotate_secret", subject_type="webhook_endpoint", subject_id=endpoint_id)
    return endpoint, secret


async def send_test(unit: Unit, *, endpoint_id: UUID) -> WebhookDelivery:
    """Queue an event of type webhook.test. Raises Forbidden, NotFound, EndpointDisabled."""
    unit.require(Scope.SETTINGS_WRITE)
    endpoint = await locked(unit, endpoint_id)
    _require_enabled(endpoint)
    delivery = WebhookDelivery(
        account_id=unit.account_id,
        endpoint_id=endpoint.id,
        event_type=TEST,
        body=envelope(TEST, datetime.now(UTC), {"message": "This is a test of your endpoint."}),
    )
    unit.session.add(delivery)
    await unit.session.flush()
    unit.audit("webhook.test", subject_type="webhook_endpoint", subject_id=endpoint.id)
    return delivery


async def redeliver(unit: Unit, *, delivery_id: UUID) -> WebhookDelivery:
    """Send it again, with the same webhook-id and body and all retries; one that is still on its way is sent at once.

    Raises Forbidden, NotFound, EndpointDisabled.
    """
    unit.require(Scope.SETTINGS_WRITE)
    asked = sa.select(WebhookDelivery).where(WebhookDelivery.id == delivery_id)
    gone = NotFound("There is no such delivery; they are kept for a month.")
    seen = (await unit.session.scalars(asked)).one_or_none()
    if seen is None:
        raise gone
    _require_enabled(await locked(unit, seen.endpoint_id))
    delivery = (await unit.session.scalars(asked.with_for_update().execution_options(populate_existing=True))).one_or_none()
    if delivery is None:
        raise gone
    delivery.state, delivery.ended_at = WebhookDeliveryState.PENDING, None
    delivery.failures, delivery.next_at = 0, datetime.now(UTC)
    await unit.session.flush()
    unit.audit("webhook.redeliver", subject_type="webhook_delivery", subject_id=delivery.id)
    return delivery


async def endpoints_page(unit: Unit, *, window: Window) -> Page[WebhookEndpoint]:
    """The account's endpoints, newest first. Raises Forbidden."""
    unit.require(Scope.SETTINGS_WRITE)
    return await paginate(unit.session, sa.select(WebhookEndpoint), order=_NEWEST_ENDPOINTS, window=window)


async def deliveries_page(
    unit: Unit, *, endpoint_id: UUID, state: WebhookDeliveryState | None, window: Window
) -> Page[WebhookDelivery]:
    """What was sent to an endpoint, newest first. Raises Forbidden."""
    unit.require(Scope.SETTINGS_WRITE)
    query = sa.select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    return await paginate(unit.session, query, order=_NEWEST_DELIVERIES, window=window)


endpoints_by_ids = by_ids(WebhookEndpoint, scope=Scope.SETTINGS_WRITE)
deliveries_by_ids = by_ids(WebhookDelivery, scope=Scope.SETTINGS_WRITE)


async def attempts_by_delivery(unit: Unit, ids: list[UUID]) -> Sequence[list[WebhookAttempt]]:
    """The attempts of each delivery, first ones first."""
    found: dict[UUID, list[WebhookAttempt]] = {delivery_id: [] for delivery_id in ids}
    query = sa.select(WebhookAttempt).where(any_of(WebhookAttempt.delivery_id, ids)).order_by(WebhookAttempt.number)
    for attempt in await unit.session.scalars(query):
        found[attempt.delivery_id].append(attempt)
    return [found[delivery_id] for delivery_id in ids]


async def find(unit: Unit, endpoint_id: UUID) -> WebhookEndpoint | None:
    """An endpoint; None where it was deleted."""
    return (await unit.session.scalars(sa.select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))).one_or_none()


async def lock(unit: Unit, endpoint_id: UUID) -> WebhookEndpoint | None:
    """An endpoint that nobody else changes until the unit ends; None where it was deleted.

    It is locked before any of its deliveries, by all who lock both: the other way round two of them could wait for each other.
    """
    query = sa.select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).with_for_update()
    return (await unit.session.scalars(query)).one_or_none()


async def locked(unit: Unit, endpoint_id: UUID) -> WebhookEndpoint:
    """As `lock`. Raises NotFound."""
    endpoint = await lock(unit, endpoint_id)
    if endpoint is None:
        raise NotFound("There is no such webhook endpoint.")
    return endpoint


async def secrets_of(unit: Unit, vault: Vault, endpoint: WebhookEndpoint) -> list[str]:
    """What signs now: the secret, and for a day after a rotation the one before it. Raises Unsealable."""
    sealed = [endpoint.secret]
    if endpoint.previous_secret is not None and (endpoint.previous_until or datetime.now(UTC)) > datetime.now(UTC):
        sealed.append(endpoint.previous_secret)
    return [await vault.unseal(unit, each, purpose=_purpose(endpoint.id)) for each in sealed]


async def give_up(unit: Unit, endpoint: WebhookEndpoint, reason: str) -> None:
    """Disable an endpoint that does not answer, and tell the account."""
    if endpoint.disabled_at is not None:
        return
    await _disable(unit, endpoint, reason)
    endpoint.version += 1
    host = host_of(endpoint.url)
    unit.audit("webhook.give_up", subject_type="webhook_endpoint", subject_id=endpoint.id, host=host, reason=reason)
    await notify(
        unit,
        event=NotificationEvent.INTEGRATION_DISCONNECTED,
        title="A webhook endpoint was disabled",
        body=f"Nothing is sent to {host} any more. {reason} Mend it, enable it and redeliver what it missed.",
        critical=True,
        path="/settings/webhooks",
    )


async def _disable(unit: Unit, endpoint: WebhookEndpoint, reason: str) -> None:
    endpoint.disabled_at, endpoint.disabled_reason = datetime.now(UTC), reason
    queued = sa.update(WebhookDelivery).where(
        WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == WebhookDeliveryState.PENDING
    )
    failed = queued.values(state=WebhookDeliveryState.FAILED, ended_at=sa.func.now(), lease_until=None)
    await unit.session.execute(failed.execution_options(synchronize_session=False))


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise EndpointDisabled("This endpoint is disabled; enable it first.")


def _chosen(event_types: Collection[WebhookEvent]) -> list[str]:
    if not event_types:
        raise Invalid("Choose at least one event.", field=("eventTypes",))
    return sorted({event.value for event in event_types})


def _described(text: str) -> str:
    if len(text) > _MAX_DESCRIPTION:
        raise Invalid(f"A description has at most {_MAX_DESCRIPTION} characters.", field=("description",))
    return text.strip()


def _new_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def _purpose(endpoint_id: UUID) -> str:
    return f"webhook:{endpoint_id}"
