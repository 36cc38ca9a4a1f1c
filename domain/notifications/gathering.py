"""Many notices become few messages: what is told to whom, gathered, and written down in one statement."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import new_id
from db.models.jobs import Job
from db.models.notifications import Channel, Notification, NotificationEvent
from domain.notifications.routing import Route

QUIET: Final = timedelta(seconds=8)  # a message goes out once nothing has been added for so long
LONGEST: Final = timedelta(seconds=20)  # and at the latest so long after what it tells of first
LISTED: Final = 20  # notices that a message lists; of the others it tells the number


@dataclass(frozen=True, slots=True)
class Happened:
    """What is to be told, before it is known to whom; becomes a `Notice`. `not_to` did it, and knows."""

    account_id: UUID
    event: NotificationEvent
    title: str
    body: str
    path: str
    at: datetime
    critical: bool = False
    not_to: UUID | None = None
    error: str | None = None
    job_id: UUID | None = None
    job_kind: str | None = None
    job_state: str | None = None
    details: Mapping[str, Any] | None = None
    id: UUID = field(default_factory=new_id)


@dataclass(slots=True)
class Gathered:
    """Notices for one reader, which are told in one message. Reader None: the account's Slack channel, for `audience`."""

    account_id: UUID
    user_id: UUID | None
    audience: tuple[UUID, ...]
    event: NotificationEvent
    channels: frozenset[Channel]
    critical: bool
    muted: bool
    notices: list[UUID] = field(default_factory=list)

    @property
    def gathering(self) -> str:
        """Equal for what may be told in one message."""
        readers = hashlib.sha256(b"".join(user.bytes for user in self.audience)).hexdigest()[:16] if self.audience else ""
        return ":".join(
            (
                self.event,
                "critical" if self.critical else "muted" if self.muted else "",
                ",".join(sorted(self.channels)),
                readers,
            )
        )


def gather(told: Iterable[tuple[Happened, Mapping[UUID, Route]]]) -> list[Gathered]:
    """One for each reader and kind of message, in the order in which all who write them lock them.

    A person's Slack messages go to the account's one channel, once however many want them there.
    """
    found: dict[tuple[Any, ...], Gathered] = {}
    for happened, routes in told:
        for each in (*_to_people(happened, routes), *_to_slack(happened, routes)):
            key = (each.account_id, each.user_id or "", each.event, each.critical, each.gathering, each.channels, each.audience)
            found.setdefault(key, each).notices.append(happened.id)
    return list(found.values())


def _to_people(happened: Happened, routes: Mapping[UUID, Route]) -> Iterable[Gathered]:
    for user_id, route in routes.items():
        if route.channels - {Channel.SLACK}:
            yield Gathered(
                happened.account_id, user_id, (), happened.event, route.channels, critical=route.critical, muted=route.muted
            )


def _to_slack(happened: Happened, routes: Mapping[UUID, Route]) -> Iterable[Gathered]:
    audience = tuple(sorted(user_id for user_id, route in routes.items() if Channel.SLACK in route.channels))
    if audience:
        critical = any(routes[user_id].critical for user_id in audience)
        channels = frozenset({Channel.SLACK})
        yield Gathered(happened.account_id, None, audience, happened.event, channels, critical=critical, muted=False)


async def write(session: AsyncSession, happened: Sequence[Happened], gathered: Sequence[Gathered]) -> None:
    """Write notices, notifications and deliveries; what is being gathered already grows. Works in either kind of session.

    What is critical goes out at once, unless the same was told just before: a thousand failures are no thousand messages.
    """
    if not gathered:
        return
    now = datetime.now(UTC)
    notices = [_notice(each) for each in happened]
    await session.execute(
        _WRITE,
        {
            "notices": orjson.dumps(notices, default=str).decode(),
            "notifications": orjson.dumps([_notification(each, now) for each in gathered], default=str).decode(),
            "longest": LONGEST,
            "listed": LISTED,
        },
    )


def _notice(each: Happened) -> dict[str, Any]:
    names = ("id", "account_id", "event", "title", "body", "error", "job_id", "job_kind", "job_state", "path", "details", "at")
    return {name: getattr(each, name) for name in names}


def _notification(each: Gathered, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "account_id": each.account_id,
        "user_id": each.user_id,
        "audience": each.audience,
        "event": each.event,
        "channels": sorted(each.channels),
        "critical": each.critical,
        "muted": each.muted,
        "gathering": each.gathering,
        "now": now,
        "gathers_until": now + QUIET,
        "count": len(each.notices),
        "notices": each.notices[:LISTED],
    }


_WRITE = sa.text("""
WITH told AS (
  INSERT INTO notice (id, account_id, event, title, body, error, job_id, job_kind, job_state, path, details, at)
  SELECT id, account_id, event, title, body, error, job_id, job_kind, job_state, path, details, at
  FROM jsonb_to_recordset(cast(:notices AS jsonb)) AS given (
    id uuid, account_id uuid, event text, title text, body text, error text, job_id uuid, job_kind text, job_state text,
    path text, details jsonb, at timestamptz)
), gathered AS (
  INSERT INTO notification AS n
    (id, account_id, user_id, audience, event, channels, in_app, critical, muted, gathering, gathers_until, count, notices)
  SELECT id, account_id, user_id, audience, event, channels, 'in_app' = ANY (channels), critical, muted,
    CASE WHEN goes.at_once THEN NULL ELSE gathering END, CASE WHEN goes.at_once THEN now ELSE gathers_until END, count, notices
  FROM jsonb_to_recordset(cast(:notifications AS jsonb)) AS given (
    id uuid, account_id uuid, user_id uuid, audience uuid[], event text, channels text[], critical boolean, muted boolean,
    gathering text, now timestamptz, gathers_until timestamptz, count integer, notices uuid[])
  CROSS JOIN LATERAL (SELECT critical AND NOT EXISTS (
    SELECT FROM notification AS told WHERE told.critical
      AND told.account_id = given.account_id AND told.user_id IS NOT DISTINCT FROM given.user_id AND told.event = given.event
      AND told.channels = given.channels AND told.audience = given.audience
      AND told.gathers_until > given.now - cast(:longest AS interval)) AS at_once) AS goes
  ORDER BY account_id, user_id, gathering
  ON CONFLICT (account_id, user_id, gathering) WHERE gathering IS NOT NULL DO UPDATE SET
    count = n.count + excluded.count,
    notices = (n.notices || excluded.notices)[1:cast(:listed AS integer)],
    gathers_until = least(excluded.gathers_until, n.created_at + cast(:longest AS interval)),
    read_at = NULL,
    updated_at = clock_timestamp(),
    xid = (pg_current_xact_id()::text)::bigint
  RETURNING id, account_id, user_id, channels, gathers_until
)
INSERT INTO delivery (id, account_id, notification_id, user_id, channel, next_at)
SELECT gen_random_uuid(), account_id, id, user_id, channel, gathers_until
FROM gathered, unnest(channels) AS channel
WHERE channel = CASE WHEN user_id IS NULL THEN 'slack' ELSE 'email' END
ORDER BY id
ON CONFLICT (account_id, notification_id, channel, user_id) WHERE notification_id IS NOT NULL DO UPDATE SET
  next_at = excluded.next_at WHERE delivery.state = 'queued' AND delivery.attempts = 0
""")


async def close_lapsed(session: AsyncSession) -> list[Job]:
    """End the gathering of what is not added to any more; a sweep (see `domain.jobs.sweeps`) that moves no job."""
    lapsed = sa.update(Notification).where(Notification.gathering.is_not(None), Notification.gathers_until <= sa.func.now())
    await session.execute(lapsed.values(gathering=None), execution_options={"synchronize_session": False})
    return []
