"""What endpoints are told of, and in which words: the payloads are frozen when it happens."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import new_id
from db.models.jobs import Job, JobMove, JobState
from db.models.webhooks import WebhookDelivery, WebhookEndpoint
from domain import ids
from domain.jobs.args import kinds


class WebhookEvent(StrEnum):
    """What can be told. The values are what is sent, and never change."""

    JOB_COMPLETED = "job.completed"
    JOB_PARTIAL = "job.partial"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_WAITING = "job.waiting"
    JOB_RETRYING = "job.retrying"


TEST = "webhook.test"
_OF_STATE: Mapping[JobState, WebhookEvent] = {
    JobState.SUCCEEDED: WebhookEvent.JOB_COMPLETED,
    JobState.PARTIAL: WebhookEvent.JOB_PARTIAL,
    JobState.FAILED: WebhookEvent.JOB_FAILED,
    JobState.CANCELLED: WebhookEvent.JOB_CANCELLED,
    JobState.WAITING: WebhookEvent.JOB_WAITING,
    JobState.BACKOFF: WebhookEvent.JOB_RETRYING,
}
_WITH_ERROR = frozenset({JobState.PARTIAL, JobState.FAILED, JobState.WAITING, JobState.BACKOFF})
_ENDED = frozenset({JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED})

# Built once: it runs after every job's end, and mostly finds no endpoint.
_CONCERNED = (
    sa.select(
        WebhookEndpoint.id.label("endpoint_id"),
        WebhookEndpoint.event_types,
        Job.id.label("job_id"),
        Job.kind,
        Job.title,
        Job.location_id,
        Job.version,
        Job.run_at,
        Job.created_at,
        Job.started_at,
        Job.max_retries,
        Job.error_code,
    )
    .join(Job, Job.account_id == WebhookEndpoint.account_id)
    .where(
        WebhookEndpoint.disabled_at.is_(None),
        Job.id == sa.any_(sa.bindparam("jobs", type_=postgresql.ARRAY(Job.id.type))),
        Job.kind != sa.all_(sa.bindparam("unseen", type_=postgresql.ARRAY(Job.kind.type))),
    )
)


async def tell_endpoints(session: AsyncSession, moves: Sequence[JobMove]) -> list[Job]:
    """Queue what the moves mean for each endpoint that wants to know. A reaction: see `domain.reactions`."""
    told = [move for move in moves if move.state in _OF_STATE]
    if not told:
        return []
    unseen = [kind for kind, args in kinds().items() if args.housekeeping]
    found: dict[UUID, list[Any]] = defaultdict(list)
    for row in await session.execute(_CONCERNED, {"jobs": list({move.job_id for move in told}), "unseen": unseen}):
        found[row.job_id].append(row)
    queued = [
        _delivery(move, row)
        for move in told
        for row in found.get(move.job_id, ())
        if _OF_STATE[move.state].value in row.event_types
    ]
    if queued:
        await session.execute(sa.insert(WebhookDelivery), queued)
    return []


def envelope(event_type: str, at: datetime, data: Mapping[str, Any]) -> str:
    """The body of a webhook as Standard Webhooks has it."""
    return orjson.dumps({"type": event_type, "timestamp": _moment(at), "data": data}).decode()


def _delivery(move: JobMove, job: Any) -> dict[str, Any]:
    event = _OF_STATE[move.state]
    return {
        "id": new_id(),
        "account_id": move.account_id,
        "endpoint_id": job.endpoint_id,
        "event_type": event.value,
        "job_id": move.job_id,
        "body": envelope(event.value, move.at, _data(move, job)),
    }


def _data(move: JobMove, job: Any) -> dict[str, Any]:
    """Ids, state and times, and nothing that a customer typed but the title: the rest is read from the API with a credential.

    The row may be ahead of the move, so what changes is taken from the move.
    """
    is_current = job.version == move.version
    return {
        "accountId": ids.encode("account", move.account_id),
        "jobId": ids.encode("job", move.job_id),
        "locationId": None if job.location_id is None else ids.encode("location", job.location_id),
        "kind": job.kind,
        "title": job.title,
        "state": move.state.name,
        "version": move.version,
        "attempt": move.attempt,
        "failures": move.failures,
        "maxRetries": job.max_retries,
        "errorCode": job.error_code if move.state in _WITH_ERROR else None,
        "createdAt": _moment(job.created_at),
        "startedAt": _moment(job.started_at),
        "finishedAt": _moment(move.at) if move.state in _ENDED else None,
        "nextAttemptAt": _moment(job.run_at) if move.state is JobState.BACKOFF and is_current else None,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
