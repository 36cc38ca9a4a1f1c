"""What all feeds of jobs have in common."""

from collections.abc import AsyncIterator
from enum import StrEnum

from domain.events import Hint, Mailbox


class UpdateKind(StrEnum):
    """`snapshot`: how it is now. `changed`: what happened next. `resync`: the history asked for is gone; how it is now.

    `deleted`: it is gone, and nothing more will come.
    """

    SNAPSHOT = "snapshot"
    CHANGED = "changed"
    RESYNC = "resync"
    DELETED = "deleted"


async def job_hints(mailbox: Mailbox) -> AsyncIterator[Hint]:
    """Those of an account's hints that may be about jobs."""
    async for hint in mailbox:
        if hint.gap or any(change.noun == "job" for change in hint.changes):
            yield hint
