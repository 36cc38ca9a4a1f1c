"""Webhook endpoints as a client makes them, and the sandbox's receiver of webhooks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
from standardwebhooks import Webhook

from tests.factories.client import Client
from tests.factories.engine import eventually
from tests.factories.house import House

ENDPOINT = "id url description eventTypes version failingSince disabledAt disabledReason previousUntil"
DELIVERY = "id eventType state body jobId nextAttemptAt endedAt attempts { number status seconds excerpt error }"
CREATE = f"""mutation ($input: CreateWebhookEndpointInput!) {{ createWebhookEndpoint(input: $input) {{
  webhookEndpoint {{ {ENDPOINT} }} secret userErrors {{ code message field }} }} }}"""
UPDATE = f"""mutation ($input: UpdateWebhookEndpointInput!) {{ updateWebhookEndpoint(input: $input) {{
  webhookEndpoint {{ {ENDPOINT} }} secret userErrors {{ code message field }} }} }}"""
ROTATE = f"""mutation ($input: RotateWebhookSecretInput!) {{ rotateWebhookSecret(input: $input) {{
  webhookEndpoint {{ {ENDPOINT} }} secret userErrors {{ code }} }} }}"""
DELETE = """mutation ($input: DeleteWebhookEndpointInput!) { deleteWebhookEndpoint(input: $input) {
  deletedId userErrors { code } } }"""
TEST = f"""mutation ($input: TestWebhookEndpointInput!) {{ testWebhookEndpoint(input: $input) {{
  webhookDelivery {{ {DELIVERY} }} userErrors {{ code message }} }} }}"""
REDELIVER = f"""mutation ($input: RedeliverWebhookInput!) {{ redeliverWebhook(input: $input) {{
  webhookDelivery {{ {DELIVERY} }} userErrors {{ code }} }} }}"""
LOG = f"""query ($id: ID!, $state: WebhookDeliveryState) {{ node(id: $id) {{ ... on WebhookEndpoint {{ {ENDPOINT}
  deliveries(first: 100, state: $state) {{ totalCount nodes {{ {DELIVERY} }} }} }} }} }}"""
ALL = ["JOB_COMPLETED", "JOB_PARTIAL", "JOB_FAILED", "JOB_CANCELLED", "JOB_WAITING", "JOB_RETRYING"]


def hook(house: House, name: str = "crm") -> str:
    """Where a receiver of the sandbox listens."""
    return f"{house.sandbox_url}/__hooks__/{name}"


async def create(client: Client, url: str, events: list[str] | None = None) -> tuple[dict[str, Any], str]:
    """A new endpoint and its secret."""
    given = {"url": url, "eventTypes": events or ALL, "description": "Our CRM"}
    payload = (await client.ask(CREATE, input=given))["createWebhookEndpoint"]
    assert payload["userErrors"] == [], payload["userErrors"]
    return payload["webhookEndpoint"], payload["secret"]


async def received(url: str, count: int = 1) -> list[dict[str, Any]]:
    """What the receiver got, once it is so many."""
    async with httpx.AsyncClient() as http:

        async def look() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await http.get(url)).json()
            return found if len(found) >= count else None

        return await eventually(look)


async def order(url: str, **how: Any) -> None:
    """Let the receiver's next answers go wrong."""
    async with httpx.AsyncClient() as http:
        (await http.put(url, json=how)).raise_for_status()


async def log(client: Client, endpoint: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """An endpoint with what was sent to it."""
    found: dict[str, Any] = (await client.ask(LOG, id=endpoint["id"], **wanted))["node"]
    return found


@asynccontextmanager
async def database(house: House) -> AsyncIterator[asyncpg.Connection]:
    """The house's database, as the superuser."""
    connection = await asyncpg.connect(house.settings.database_url.replace("bots@", "postgres@", 1))
    yield connection
    await connection.close()


def verified(secret: str, request: dict[str, Any]) -> dict[str, Any]:
    """The event, if `secret` signed the request."""
    event: dict[str, Any] = Webhook(secret).verify(request["body"], request["headers"])
    return event
