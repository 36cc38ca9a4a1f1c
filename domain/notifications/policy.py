"""What follows when a message could not be sent: a pure decision."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from db.models.notifications import Channel
from domain.errors import VendorBusy, VendorDown, VendorFailed, VendorUnauthorized
from domain.vendors.slack.client import WebhookGone

PROMPT: Final = timedelta(seconds=45)  # by then it was delivered, or another channel has taken over
GIVEN_UP: Final = timedelta(hours=24)
TRIES: Final = 4  # that soon follow each other
_DELAYS: Final = (2.0, 5.0, 10.0)
_LONGEST_DELAY: Final = 900.0


@dataclass(frozen=True, slots=True)
class Next:
    """`delay`: seconds until it is tried again, None where it has failed for good. `falls_back`: another channel takes over."""

    delay: float | None
    falls_back: bool


def after_failure(
    channel: Channel, error: VendorFailed, *, attempts: int, age: timedelta, fell_back: bool, has_fallback: bool
) -> Next:
    """What to do after attempt number `attempts` of a message that was asked for `age` ago.

    Slack gives way to e-mail. E-mail is the last resort outside: once what it tells is shown in the app as well, it still
    stays queued for a day, for a mail server that comes back.
    """
    delay = _delay(error, attempts)
    late = attempts >= TRIES or age + timedelta(seconds=delay) > PROMPT
    takes_over = has_fallback and not fell_back
    if not _is_worth_another(error) or (channel is not Channel.EMAIL and late) or age > GIVEN_UP:
        return Next(None, falls_back=takes_over)
    return Next(delay, falls_back=late and takes_over)


def _is_worth_another(error: VendorFailed) -> bool:
    if isinstance(error, WebhookGone):
        return False
    return isinstance(error, VendorDown | VendorBusy | VendorUnauthorized)


def _delay(error: VendorFailed, attempts: int) -> float:
    if isinstance(error, VendorBusy):
        return min(max(error.retry_after, 1.0), _LONGEST_DELAY)
    if attempts <= len(_DELAYS):
        return _DELAYS[attempts - 1]
    return min(_DELAYS[-1] * 2.0 ** min(attempts - len(_DELAYS), 10), _LONGEST_DELAY)
