"""All that goes out, for the clock's process."""

import asyncio

from domain.runtime import Runtime
from jobs import notifications, webhooks
from jobs.deliveries import deliver


async def deliver_all(runtime: Runtime) -> None:
    """Send what is queued, each outlet beside the others, until cancelled."""
    async with asyncio.TaskGroup() as loops:
        for outlet in notifications.outlets(runtime):
            loops.create_task(deliver(outlet))
        loops.create_task(deliver(webhooks.outlet(runtime)))
