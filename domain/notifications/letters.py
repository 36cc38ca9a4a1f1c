"""What a message says: the same notices as an e-mail and as a Slack message. Pure; rows in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from db.models.notifications import Notice, Notification, NotificationEvent
from domain import ids
from domain.vendors.slack.client import escaped

E = NotificationEvent

HOME = "/notifications"
SETTINGS = "/settings/notifications"
_MANY = {
    E.JOB_COMPLETED: "{} jobs completed",
    E.JOB_FIRST_FAILURE: "{} jobs failed and will be tried again",
    E.JOB_FAILED: "{} jobs failed",
    E.JOB_PARTIAL: "{} jobs completed in part",
    E.JOB_WAITING: "{} jobs wait for you",
    E.JOB_CANCELLED: "{} jobs were cancelled",
    E.REQUIRES_ACTION: "{} jobs require your action",
    E.NOTE_ADDED: "{} new notes",
    E.SCHEDULE_DISABLED: "{} schedules were disabled",
    E.INTEGRATION_DISCONNECTED: "{} integrations were disconnected",
}
_ABOUT_JOBS = frozenset(_MANY) - {E.NOTE_ADDED, E.SCHEDULE_DISABLED, E.INTEGRATION_DISCONNECTED}
# Slack refuses a message with a longer text in a block.
_SLACK_TEXT = 2_900
_SLACK_HEADLINE = 150
_LINE = 300

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail's contents."""

    subject: str
    text: str
    html: str | None


def headline(event: NotificationEvent, count: int, notices: Sequence[Notice]) -> str:
    """What happened in one line: the notice's own where there is one, else how many there are.

    What happened to the same job several times counts once.
    """
    told = _newest(event, notices)
    number = _number(count, notices, told)
    return told[0].title if number == 1 and told else _MANY[event].format(number)


def path(event: NotificationEvent, count: int, notices: Sequence[Notice]) -> str:
    """Where the front end shows it: the one thing, or the list of notifications."""
    told = _newest(event, notices)
    return told[0].path if _number(count, notices, told) == 1 and told else HOME


def _newest(event: NotificationEvent, notices: Sequence[Notice]) -> list[Notice]:
    """Of each job the newest notice, which tells of all that happened to it before; of anything else all notices."""
    if event not in _ABOUT_JOBS:
        return list(notices)
    return list({notice.job_id or notice.id: notice for notice in notices}.values())


def _number(count: int, notices: Sequence[Notice], told: Sequence[Notice]) -> int:
    """How many things there are to tell, of `count` of which `notices` are the first."""
    return count - len(notices) + len(told)


def email(notification: Notification, notices: Sequence[Notice], *, site: str) -> Letter:
    """The e-mail about a notification; `site` is what paths of the front end are added to."""
    title = _loud(notification, headline(notification.event, notification.count, notices))
    told = _newest(notification.event, notices)
    values = {
        "headline": title,
        "critical": notification.critical,
        "items": [_item(notice, site) for notice in told],
        "more": notification.count - len(notices),
        "home": site + HOME,
        "settings": site + SETTINGS,
    }
    return Letter(
        subject=title,
        text=_templates.get_template("notification.txt").render(values),
        html=_templates.get_template("notification.html").render(values),
    )


def slack(notification: Notification, notices: Sequence[Notice], *, site: str) -> Mapping[str, Any]:
    """The Slack message about a notification. `text` is what a notification on a telephone shows."""
    title = _loud(notification, headline(notification.event, notification.count, notices))
    told = _newest(notification.event, notices)
    alone = _number(notification.count, notices, told) == 1
    if alone and told:
        title = " - ".join(part for part in (title, told[0].error) if part)
    lines = [_slack_line(_item(notice, site), alone=alone) for notice in told]
    more = notification.count - len(notices)
    if more > 0:
        lines.append(f"and {more} more: <{site}{HOME}|see all>")
    body = "\n".join(lines)
    while len(body) > _SLACK_TEXT:
        lines = [*lines[: len(lines) // 2], "..."] if len(lines) > 2 else [body[: _SLACK_TEXT - 3] + "..."]  # noqa: PLR2004 -- a line and the dots
        body = "\n".join(lines)
    return {
        "text": escaped(_short(title, _LINE)),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": _short(title, _SLACK_HEADLINE)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": body or "-"}},
        ],
        "unfurl_links": False,
    }


def _loud(notification: Notification, title: str) -> str:
    return f"ALERT: {title}" if notification.critical else title


def _item(notice: Notice, site: str) -> dict[str, Any]:
    return {
        "title": notice.title,
        "body": notice.body,
        "job": None if notice.job_id is None else ids.encode("job", notice.job_id),
        "status": None if notice.job_state is None else notice.job_state.upper(),
        "attempts": (notice.details or {}).get("attempts", []),
        "link": site + notice.path,
    }


def _slack_line(item: Mapping[str, Any], *, alone: bool) -> str:
    facts = [item["job"], item["status"]]
    about = ", ".join(fact for fact in facts if fact)
    title = f"<{item['link']}|{escaped(_short(item['title'], _LINE)).replace('|', '/')}>"
    body = escaped(_short(item["body"], _LINE))
    if not alone:
        return f"• {title}{f' ({about})' if about else ''}{f': {body}' if body else ''}"
    tried = [
        f"Attempt {each['number']}: {escaped(_short(each['errorMessage'] or each['outcome'] or '', _LINE))}"
        for each in item["attempts"]
    ]
    return "\n".join(part for part in (title, body, about, *tried) if part)


def _short(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 3] + "..."
