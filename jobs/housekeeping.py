"""What the clock process does beside its sweeps, which must not wait for it: it forgets what nobody may ask for any more."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from domain import actor as actors
from domain.files import store as files
from domain.jobs import retention, sweeps
from domain.runtime import Runtime

EVERY = 60.0
_PRUNE_EVERY = 60  # rounds: an hour
_MOST_BATCHES = 100

log = structlog.get_logger(__name__)


async def keep_house(runtime: Runtime) -> None:
    """Keep house until cancelled; several clocks may do it at once. A failure is logged, and tried again in a minute."""
    number = 0
    while True:
        with _tolerated("retention"):
            await ask_for_retention(runtime)
        if number % _PRUNE_EVERY == 0:
            with _tolerated("prune"):
                await prune(runtime)
        number += 1
        await asyncio.sleep(EVERY)


@contextmanager
def _tolerated(what: str, **about: str) -> Iterator[None]:
    """Its failure is its own: all else goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- the database or the file store may be away
        log.warning("housekeeping.failed", what=what, error=str(error), kind=type(error).__name__, **about)


async def ask_for_retention(runtime: Runtime) -> None:
    """One job for each account whose day has come."""
    async with runtime.database.system_across_accounts() as session:
        due = await retention.due_accounts(session)
    for account_id in due:
        with _tolerated("retention", account_id=str(account_id)):
            async with runtime.unit(actors.system(account_id)) as unit:
                await retention.enqueue(unit)


async def prune(runtime: Runtime) -> None:
    """Delete what belongs to no account's history, batch after batch, and files that have expired."""
    for _ in range(_MOST_BATCHES):
        async with runtime.database.system_across_accounts() as session:
            if not await sweeps.prune(session):
                break
    await files.delete_expired(runtime.database, runtime.files)
