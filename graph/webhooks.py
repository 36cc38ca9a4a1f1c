"""Webhooks that go out: endpoints, their secrets, and the log of what was sent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from db.models import webhooks as models
from domain.tenancy import idempotency
from domain.unit import Unit
from domain.webhooks import endpoints
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.enums import WebhookDeliveryState, WebhookEvent
from graph.node import Node, global_id, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, mutation

loads("whe", endpoints.endpoints_by_ids)
loads("whd", endpoints.deliveries_by_ids)


async def _attempts(unit: Unit, delivery_ids: list[UUID]) -> Sequence[list[models.WebhookAttempt]]:
    return await endpoints.attempts_by_delivery(unit, delivery_ids)


@strawberry.type(description="One request to an endpoint.")
class WebhookAttempt:
    number: int = about("1 for the first; one whose sender died has no entry.")
    at: datetime = about("When its outcome was known. UTC.")
    status: int | None = about("The HTTP status; null where no answer came.")
    seconds: float = about("Until the answer, or until it was given up.")
    excerpt: str = about("How the answer's body began, up to 500 characters.")
    error: str | None = about("Why it did not count as delivered; null when it did.")


@strawberry.type(
    description="One event on its way to one endpoint. Its id is the header `webhook-id`, the same at each attempt."
)
class WebhookDelivery(Node):
    id: strawberry.ID = global_id("whd")
    event_type: str = about("Such as job.completed; webhook.test for a test.")
    state: WebhookDeliveryState = about("How it stands.")
    body: str = about("What is sent, the same bytes at each attempt.")
    created_at: datetime = about("When it happened. UTC.")
    ended_at: datetime | None = about("When it was accepted or given up; null while neither. UTC.")

    is_type_of = stands_for(models.WebhookDelivery)

    @resolved("When the next attempt is due; null when there is none. UTC.")
    def next_attempt_at(root: strawberry.Parent[models.WebhookDelivery]) -> datetime | None:
        """While it is pending."""
        return root.next_at if root.state is models.WebhookDeliveryState.PENDING else None

    @resolved("The job that it is about; null for a test.")
    def job_id(root: strawberry.Parent[models.WebhookDelivery]) -> strawberry.ID | None:
        """Its global id: the job may be gone."""
        return None if root.job_id is None else strawberry.ID(ids.encode("job", root.job_id))

    @resolved("Every request, the first one first.", list[WebhookAttempt] | None)
    async def attempts(root: strawberry.Parent[models.WebhookDelivery], info: Info) -> Any:
        """Gathered for all deliveries of the answer."""
        return await info.context.loader(_attempts).load(root.id)


@strawberry.type(
    description="An https address that is told of events, signed as Standard Webhooks has it. A delivery is tried again after"
    " 5 s, 30 s, 2 min, 10 min, 1 h, 6 h and 24 h. The order is not promised, and one may come twice: look at `webhook-id`."
)
class WebhookEndpoint(Node):
    id: strawberry.ID = global_id("whe")
    url: str = about("Where events are posted to.")
    description: str = about("What it is for.")
    event_types: list[WebhookEvent] = about("What it is told of.")
    failing_since: datetime | None = about("The first failure after the last success; null when all is well. UTC.")
    disabled_at: datetime | None = about("Since when nothing is sent; null while it is enabled. UTC.")
    disabled_reason: str | None = about("Why, in a sentence.")
    previous_until: datetime | None = about("Until when the secret before the last rotation signs too. UTC.")
    version: int = about("For `expectedVersion`; rises with every change.")
    created_at: datetime = about("UTC.")

    is_type_of = stands_for(models.WebhookEndpoint)

    @resolved("What was sent to it, newest first; kept for a month.", Connection[WebhookDelivery] | None)
    async def deliveries(
        root: strawberry.Parent[models.WebhookEndpoint],
        info: Info,
        state: Annotated[WebhookDeliveryState | None, strawberry.argument(description="Only those in this state.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Needs settings:write."""
        async with info.context.unit() as unit:
            page = await endpoints.deliveries_page(
                unit, endpoint_id=root.id, state=state, window=window(first, after, last, before)
            )
        return Listing(page)


@strawberry.input(description="An endpoint to make.")
class CreateWebhookEndpointInput:
    url: str = about("https only, of a public address.")
    event_types: list[WebhookEvent] = about("What to be told of; at least one.")
    description: str = strawberry.field(default="", description="What it is for; up to 200 characters.")
    idempotency_key: str | None = optional("The same key again leads to the same endpoint and secret, for two days.")


@strawberry.input(description="A change to an endpoint; what is not given stays.")
class UpdateWebhookEndpointInput:
    id: strawberry.ID = about("The endpoint.")
    expected_version: int = about("The version that the change is based on.")
    url: str | None = optional("https only, of a public address.")
    event_types: list[WebhookEvent] | None = optional("What to be told of; at least one.")
    description: str | None = optional("What it is for; up to 200 characters.")
    disabled: bool | None = optional("True stops sending and gives up what is queued; false starts again.")


@strawberry.input(description="An endpoint to delete, with its log.")
class DeleteWebhookEndpointInput:
    id: strawberry.ID = about("The endpoint.")


@strawberry.input(description="An endpoint that is to get a new secret.")
class RotateWebhookSecretInput:
    id: strawberry.ID = about("The endpoint.")


@strawberry.input(description="An endpoint to try out.")
class TestWebhookEndpointInput:
    id: strawberry.ID = about("The endpoint.")
    idempotency_key: str | None = optional("The same key again leads to the same delivery, not to another one.")


@strawberry.input(description="A delivery to send again.")
class RedeliverWebhookInput:
    id: strawberry.ID = about("The delivery.")
    idempotency_key: str | None = optional("The same key again leads to nothing more.")


@strawberry.type(description="What came of a change to a webhook endpoint.")
class WebhookEndpointPayload(Payload):
    webhook_endpoint: WebhookEndpoint | None = optional("As it is now; null when nothing was done.")
    secret: str | None = optional("`whsec_...`, of a new endpoint or after a rotation. It is not shown again.")


@strawberry.type(description="What came of deleting a webhook endpoint.")
class DeleteWebhookEndpointPayload(Payload):
    deleted_id: strawberry.ID | None = optional("The id that leads nowhere now; null when nothing was done.")


@strawberry.type(description="What came of sending a webhook.")
class WebhookDeliveryPayload(Payload):
    webhook_delivery: WebhookDelivery | None = optional("As it is now; null when nothing was done.")


@strawberry.type
class WebhooksQuery:
    @resolved("The account's webhook endpoints, newest first. Needs settings:write.", Connection[WebhookEndpoint] | None)
    async def webhook_endpoints(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """At most ten."""
        async with info.context.unit() as unit:
            page = await endpoints.endpoints_page(unit, window=window(first, after, last, before))
        return Listing(page)


@strawberry.type
class WebhooksMutation:
    @mutation("Make a webhook endpoint. Its secret is in the answer, this once. Needs settings:write.")
    async def create_webhook_endpoint(
        self, info: Info, input: Annotated[CreateWebhookEndpointInput, strawberry.argument(description="The endpoint.")]
    ) -> WebhookEndpointPayload:
        runtime = info.context.runtime
        async with info.context.unit() as unit:
            endpoint, secret = await endpoints.create(
                unit,
                runtime.vault,
                url=input.url,
                description=input.description,
                event_types=input.event_types,
                allow_loopback=runtime.webhooks.allow_loopback,
                idempotency_key=input.idempotency_key,
            )
        return WebhookEndpointPayload(webhook_endpoint=shown(endpoint), secret=secret)

    @mutation("Change a webhook endpoint, stop it or start it again. Needs settings:write.")
    async def update_webhook_endpoint(
        self, info: Info, input: Annotated[UpdateWebhookEndpointInput, strawberry.argument(description="The change.")]
    ) -> WebhookEndpointPayload:
        async with info.context.unit() as unit:
            endpoint = await endpoints.update(
                unit,
                endpoint_id=ids.read("whe", input.id, field="id"),
                expected_version=input.expected_version,
                url=input.url,
                description=input.description,
                event_types=input.event_types,
                disabled=input.disabled,
                allow_loopback=info.context.runtime.webhooks.allow_loopback,
            )
        return WebhookEndpointPayload(webhook_endpoint=shown(endpoint))

    @mutation("Delete a webhook endpoint with its log; what is queued for it is not sent. Needs settings:write.")
    async def delete_webhook_endpoint(
        self, info: Info, input: Annotated[DeleteWebhookEndpointInput, strawberry.argument(description="Which endpoint.")]
    ) -> DeleteWebhookEndpointPayload:
        async with info.context.unit() as unit:
            await endpoints.delete(unit, endpoint_id=ids.read("whe", input.id, field="id"))
        return DeleteWebhookEndpointPayload(deleted_id=input.id)

    @mutation("Give an endpoint a new secret; for a day the old one signs beside it. Needs settings:write.")
    async def rotate_webhook_secret(
        self, info: Info, input: Annotated[RotateWebhookSecretInput, strawberry.argument(description="Which endpoint.")]
    ) -> WebhookEndpointPayload:
        async with info.context.unit() as unit:
            endpoint, secret = await endpoints.rotate_secret(
                unit, info.context.runtime.vault, endpoint_id=ids.read("whe", input.id, field="id")
            )
        return WebhookEndpointPayload(webhook_endpoint=shown(endpoint), secret=secret)

    @mutation("Send an event of type webhook.test. Needs settings:write.")
    async def test_webhook_endpoint(
        self, info: Info, input: Annotated[TestWebhookEndpointInput, strawberry.argument(description="Which endpoint.")]
    ) -> WebhookDeliveryPayload:
        endpoint_id = ids.read("whe", input.id, field="id")
        async with info.context.unit() as unit:
            delivery_id = await idempotency.replay(
                unit, key=input.idempotency_key, operation="testWebhookEndpoint", given={"id": input.id}
            )
            if delivery_id is None:
                delivery_id = (await endpoints.send_test(unit, endpoint_id=endpoint_id)).id
                await idempotency.remember(unit, key=input.idempotency_key, subject_id=delivery_id)
            (delivery,) = await endpoints.deliveries_by_ids(unit, [delivery_id])
        return WebhookDeliveryPayload(webhook_delivery=shown(delivery))

    @mutation("Send a delivery again, with the same webhook-id and body and all its retries. Needs settings:write.")
    async def redeliver_webhook(
        self, info: Info, input: Annotated[RedeliverWebhookInput, strawberry.argument(description="Which delivery.")]
    ) -> WebhookDeliveryPayload:
        delivery_id = ids.read("whd", input.id, field="id")
        async with info.context.unit() as unit:
            known = await idempotency.replay(
                unit, key=input.idempotency_key, operation="redeliverWebhook", given={"id": input.id}
            )
            if known is None:
                await endpoints.redeliver(unit, delivery_id=delivery_id)
                await idempotency.remember(unit, key=input.idempotency_key, subject_id=delivery_id)
            (delivery,) = await endpoints.deliveries_by_ids(unit, [delivery_id])
        return WebhookDeliveryPayload(webhook_delivery=shown(delivery))
