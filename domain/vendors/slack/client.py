"""Slack's incoming webhooks: one secret URL posts to one channel."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from httpx import codes

from domain.errors import Invalid, VendorBusy, VendorDown, VendorRefused, VendorUnauthorized
from domain.vendors.http import Answer, VendorHttp, read_retry_after

SLACK_URL = "https://hooks.slack.com"
TIMEOUT = 5.0  # seconds; a message that Slack does not take at once is tried again
_DEFAULT_WAIT = 2.0
_PATH = re.compile(r"/services/[A-Za-z0-9]{1,32}/[A-Za-z0-9]{1,32}/[A-Za-z0-9]{1,64}")
_MESSAGE_LENGTH = 100
# Slack reports some of these with 400 as well: no message to this URL will ever be taken again.
_GONE = frozenset(
    {
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "posting_to_general_channel_denied",
        "team_disabled",
    }
)


class NoWebhook(Invalid):
    """The URL is not one of an incoming webhook of Slack."""

    code = "NTF-001"


class WebhookGone(VendorUnauthorized):
    """Slack takes no more messages for this URL: it was revoked, or its channel is gone."""

    code = "NTF-002"


@dataclass(frozen=True, slots=True)
class Slack:
    """Posts to webhooks at `base_url`, and nowhere else: URLs come from customers."""

    http: VendorHttp
    base_url: str = SLACK_URL

    def checked(self, url: str, *, field: tuple[str, ...] = ("webhookUrl",)) -> str:
        """The URL itself if it is one of an incoming webhook. Raises NoWebhook."""
        base, wanted = self.base_url.rstrip("/"), url.strip()
        if not wanted.startswith(base) or not _PATH.fullmatch(wanted.removeprefix(base)):
            raise NoWebhook(f"A webhook's URL looks like {base}/services/T000/B000/XXXX.", field=field)
        return wanted

    async def post(self, url: str, message: Mapping[str, Any]) -> None:
        """Post a message of Slack's format. Raises NoWebhook, WebhookGone, VendorBusy, VendorRefused, VendorDown."""
        answer = await self.http.send("POST", self.checked(url), operation="post message", json=dict(message), timeout=TIMEOUT)
        if not codes.is_success(answer.status):
            raise _failure(answer)


def escaped(text: str) -> str:
    """Text that Slack shows as it is, without links, mentions or formatting of entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _failure(answer: Answer) -> Exception:
    reason = answer.raw[:_MESSAGE_LENGTH].decode(errors="replace").strip()
    reason = reason if re.fullmatch(r"\w+", reason) else f"status {answer.status}"  # it is plain text, and not always a code
    text = f"Slack: {reason}"
    if answer.status == codes.TOO_MANY_REQUESTS:
        wait = read_retry_after(answer.headers)
        return VendorBusy(text, retry_after=_DEFAULT_WAIT if wait is None else wait, status=answer.status)
    if answer.status in {codes.FORBIDDEN, codes.NOT_FOUND, codes.GONE} or reason in _GONE:
        return WebhookGone(text, status=answer.status)
    if codes.is_client_error(answer.status) and answer.status != codes.REQUEST_TIMEOUT:
        return VendorRefused(text, status=answer.status)
    return VendorDown(text, status=answer.status)
