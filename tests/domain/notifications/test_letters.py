"""A message says how many jobs it tells of, not how often something happened to them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from db.base import new_id
from db.models.notifications import Notice, Notification, NotificationEvent
from domain.notifications import letters

SITE = "https://app.example"
E = NotificationEvent


def notice(event: NotificationEvent, job: int | None, title: str) -> Notice:
    job_id = None if job is None else UUID(int=job)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Notice(id=new_id(), event=event, title=title, body=f"{title}.", path=f"/jobs/{job}", job_id=job_id, at=at)


def message(notices: list[Notice], *, more: int = 0) -> dict[str, Any]:
    """What is said of these notices, and of `more` that are not listed."""
    event, count = notices[0].event, len(notices) + more
    notification = Notification(event=event, count=count, critical=False)
    email = letters.email(notification, notices, site=SITE)
    slack = letters.slack(notification, notices, site=SITE)
    return {"subject": email.subject, "text": email.text, "slack": slack["text"], "path": letters.path(event, count, notices)}


def test_a_job_that_failed_twice_is_one_job() -> None:
    told = message([notice(E.JOB_FIRST_FAILURE, 1, "Sync failed"), notice(E.JOB_FIRST_FAILURE, 1, "Sync failed again")])
    assert told["subject"] == told["slack"] == "Sync failed again"
    assert told["path"] == "/jobs/1"
    assert told["text"].count(f"{SITE}/jobs/1") == 1


def test_several_jobs_are_counted_once_each() -> None:
    notices = [notice(E.JOB_FIRST_FAILURE, job, f"Sync {job}") for job in (1, 2, 1)]
    told = message(notices)
    assert told["subject"] == told["slack"] == "2 jobs failed and will be tried again"
    assert told["path"] == letters.HOME
    assert message(notices, more=3)["subject"] == "5 jobs failed and will be tried again"


def test_each_note_about_a_job_counts() -> None:
    assert message([notice(E.NOTE_ADDED, 1, "A note")] * 2)["subject"] == "2 new notes"


def test_what_is_about_no_job_counts_each_time() -> None:
    told = message([notice(E.SCHEDULE_DISABLED, None, name) for name in ("A", "B")])
    assert told["subject"] == "2 schedules were disabled"
