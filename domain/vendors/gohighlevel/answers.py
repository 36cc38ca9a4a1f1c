"""Reads GoHighLevel's refusals, of which the text is the only distinction, and its rate limit headers."""

import re
import time
from collections.abc import Container
from datetime import UTC, datetime, timedelta

from httpx import codes

from domain.errors import VendorFailed, VendorRefused
from domain.vendors.http import Answer, read_retry_after
from domain.vendors.limits import Rate

_EPOCH_IN_MILLISECONDS = 10**11  # a reset beyond this many milliseconds is a date, not a duration


class MissingScope(VendorRefused):
    """The token was not granted the scope that this needs: a new token of the same grant has it neither."""


class AccountSuspended(VendorRefused):
    """The agency or the location is suspended or not active at GoHighLevel."""


class NoSuchContact(VendorRefused):
    """The location has no contact of this id; the vendor says so with a 400 as well as with a 404."""


class DuplicateContact(VendorRefused):
    """The location allows no duplicates and `contact_id` already has this `matching_field`."""

    def __init__(self, message: str, *, status: int, contact_id: str, matching_field: str) -> None:
        super().__init__(message, status=status)
        self.contact_id = contact_id
        self.matching_field = matching_field


_REFUSALS: tuple[tuple[Container[int], re.Pattern[str], type[VendorRefused]], ...] = (
    (range(400, 500), re.compile(r"is not active|suspended|is inactive|deactivated"), AccountSuspended),
    ((401,), re.compile(r"not authorized for this scope"), MissingScope),
    ((401,), re.compile(r"user type mismatch|authclass type is not allowed|version header"), VendorRefused),
    ((400, 404), re.compile(r"contact\b.*\bnot found"), NoSuchContact),
)


def checked(answer: Answer, rate: Rate) -> Answer:
    """The answer itself when it is a 2xx; raises the narrowest error that fits otherwise."""
    try:
        return answer.checked(retry_after=rate.pause or None)
    except VendorFailed as error:
        raise (_refusal(answer, error.message) or error) from None


def expired(answer: Answer) -> bool:
    """Whether this is a 401 that a fresh access token may cure."""
    return answer.status == codes.UNAUTHORIZED and _refusal(answer, "") is None


def read_rate(answer: Answer) -> Rate:
    """The limit that an answer's headers tell of, and for how long no request may follow it."""
    headers = answer.headers
    interval = _number(headers.get("x-ratelimit-interval-milliseconds"))
    daily = _number(headers.get("x-ratelimit-daily-remaining"))
    seconds = interval / 1000 if interval else None
    pause = 0.0
    if answer.status == codes.TOO_MANY_REQUESTS:
        pause = read_retry_after(headers) or seconds or 10.0
    if daily is not None and daily <= 0:
        pause = max(pause, _until_reset(_number(headers.get("x-ratelimit-daily-reset"))))
    return Rate(
        burst=_number(headers.get("x-ratelimit-max")) or None,
        remaining=_number(headers.get("x-ratelimit-remaining")),
        seconds=seconds,
        pause=pause,
    )


def _refusal(answer: Answer, message: str) -> VendorRefused | None:
    """The narrow error that the answer's text calls for, with `message`; None where its status says all there is."""
    text = answer.message().lower()
    for statuses, words, error in _REFUSALS:
        if answer.status in statuses and words.search(text):
            return error(message, status=answer.status)
    if answer.status == codes.BAD_REQUEST and "duplicated contact" in text:
        meta = answer.object().get("meta")
        if isinstance(meta, dict) and isinstance(meta.get("contactId"), str):
            return DuplicateContact(
                message,
                status=answer.status,
                contact_id=meta["contactId"],
                matching_field=str(meta.get("matchingField") or ""),
            )
    return None


def _until_reset(reset: int | None) -> float:
    """Seconds until the daily limit is reset: given as a duration or a date, else taken to be the next midnight in UTC."""
    if reset is not None and reset >= _EPOCH_IN_MILLISECONDS:
        return max(1.0, reset / 1000 - time.time())
    if reset:
        return reset / 1000
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds()


def _number(text: str | None) -> int | None:
    """A header's number; None for what is missing, negative or out of all proportion."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 15 else None  # noqa: PLR2004 - fits a double
