"""Webhooks as an outlet of the delivering loop."""

from collections.abc import Sequence

from domain.runtime import Runtime
from domain.webhooks import sending
from domain.webhooks.sending import CAPACITY, Claimed
from jobs.deliveries import Outlet


def outlet(runtime: Runtime) -> Outlet[Claimed]:
    """Sends what is queued for customers' endpoints."""

    async def claim(limit: int) -> Sequence[Claimed]:
        async with runtime.database.system_across_accounts() as session:
            return await sending.claim(session, limit=limit)

    async def send(claimed: Claimed) -> None:
        await runtime.webhooks.send(runtime, claimed)

    return Outlet("webhooks", CAPACITY, claim, send)
