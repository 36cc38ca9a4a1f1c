"""Sending what is queued for the outside world: e-mails, Slack messages, webhooks.

One loop an outlet, so that a slow vendor holds up nobody but itself. What is queued is in PostgreSQL, claimed there with a
lease: several processes may run these loops, and what a dying one was sending is claimed again when its lease lapses.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

POLL = 0.5
AFTER_FAILURE = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outlet(Generic[T]):
    """What is sent one way, at most `capacity` at once in this process.

    `claim` leases up to so many that are due, oldest first. `send` sends one and records what came of it; it is cancelled
    when the process stops, and may then leave the rest to the lapse of the lease.
    """

    name: str
    capacity: int
    claim: Callable[[int], Awaitable[Sequence[T]]]
    send: Callable[[T], Awaitable[None]]


async def deliver(outlet: Outlet[T]) -> None:
    """Claim and send until cancelled. Failures of either are logged: what was claimed is due again after its lease."""
    sending: set[asyncio.Task[None]] = set()
    try:
        while True:
            free = outlet.capacity - len(sending)
            claimed, pause = await _claim(outlet, free) if free else ([], None)
            sending |= {asyncio.create_task(_send(outlet, item)) for item in claimed}
            if len(claimed) == free and sending:  # there may be more: go on as soon as one is sent
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause or POLL)
            sending = {task for task in sending if not task.done()}
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def _claim(outlet: Outlet[T], limit: int) -> tuple[Sequence[T], float]:
    try:
        return await outlet.claim(limit), POLL
    except Exception as error:  # noqa: BLE001 -- the database may be away; the next round tries again
        log.warning("deliveries.claim_failed", outlet=outlet.name, error=str(error), kind=type(error).__name__)
        return [], AFTER_FAILURE


async def _send(outlet: Outlet[T], item: T) -> None:
    try:
        await outlet.send(item)
    except Exception as error:  # noqa: BLE001 -- one message must not end the loop for all others
        log.warning("deliveries.send_failed", outlet=outlet.name, error=str(error), kind=type(error).__name__)
