"""What follows when a message could not be sent."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.models.notifications import Channel
from domain.errors import VendorBusy, VendorDown, VendorFailed, VendorRefused, VendorUnauthorized
from domain.notifications.outbox import LEASE
from domain.notifications.policy import GIVEN_UP, PROMPT, TRIES, after_failure
from domain.vendors.mail import client as mail
from domain.vendors.slack import client as slack
from domain.vendors.slack.client import WebhookGone

OUTSIDE = st.sampled_from([Channel.EMAIL, Channel.SLACK])
errors = st.sampled_from(
    [VendorDown("x"), VendorRefused("x"), WebhookGone("x"), VendorBusy("x", retry_after=3), VendorUnauthorized("x")]
)


@given(OUTSIDE, errors, st.integers(1, 30), st.timedeltas(timedelta(0), timedelta(days=3)), st.booleans(), st.booleans())
def test_it_is_tried_again_or_has_ended_and_another_channel_takes_over_once(
    channel: Channel, error: VendorFailed, attempts: int, age: timedelta, fell_back: bool, has_fallback: bool
) -> None:
    follows = after_failure(channel, error, attempts=attempts, age=age, fell_back=fell_back, has_fallback=has_fallback)
    assert follows.delay is None or follows.delay > 0
    assert not (follows.falls_back and (fell_back or not has_fallback))
    if follows.delay is None and has_fallback and not fell_back:
        assert follows.falls_back
    if age > GIVEN_UP:
        assert follows.delay is None


@given(OUTSIDE, errors, st.floats(0, 8))
def test_within_a_minute_it_is_delivered_or_another_channel_has_taken_over(
    channel: Channel, error: VendorFailed, seconds: float
) -> None:
    """However long each attempt takes until it fails."""
    age, attempts, fell_back = timedelta(0), 0, False
    while not fell_back:
        age += timedelta(seconds=seconds)
        attempts += 1
        follows = after_failure(channel, error, attempts=attempts, age=age, fell_back=False, has_fallback=True)
        fell_back = follows.falls_back
        assert fell_back or follows.delay is not None
        age += timedelta(seconds=0 if fell_back else follows.delay or 0)
    assert age <= PROMPT + timedelta(seconds=8) < timedelta(seconds=60)


def test_an_e_mail_stays_queued_for_a_server_that_comes_back() -> None:
    follows = after_failure(
        Channel.EMAIL, VendorDown("x"), attempts=TRIES + 10, age=timedelta(hours=23), fell_back=True, has_fallback=True
    )
    assert follows.delay == pytest.approx(900)


def test_a_lease_outlasts_every_attempt() -> None:
    assert timedelta(seconds=max(mail.TIMEOUT, slack.TIMEOUT)) * 2 < LEASE
