"""What is read from refusals and rate limit headers."""

import time
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import VendorBusy, VendorDown, VendorFailed, VendorRefused, VendorUnauthorized
from domain.vendors.gohighlevel.answers import (
    AccountSuspended,
    DuplicateContact,
    MissingScope,
    NoSuchContact,
    checked,
    expired,
    read_rate,
)
from domain.vendors.http import Answer
from domain.vendors.limits import Rate


def answer(status: int, message: Any = "", headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    return Answer("gohighlevel", "x", status, httpx.Headers(headers or {}), orjson.dumps({"message": message, **more}))


@pytest.mark.parametrize(
    ("status", "message", "error", "renewable"),
    [
        (401, "Invalid JWT", VendorUnauthorized, True),
        (401, "Invalid token: access token is invalid", VendorUnauthorized, True),
        (401, "something new", VendorUnauthorized, True),
        (401, "The token is not authorized for this scope.", MissingScope, False),
        (401, "Token's user type mismatch!", VendorRefused, False),
        (401, "This authClass type is not allowed to access this scope. Please use a Location token", VendorRefused, False),
        (401, "version header was not found.", VendorRefused, False),
        (403, "The token does not have access to this location.", VendorRefused, False),
        (400, "Location is not active", AccountSuspended, False),
        (403, "This account has been suspended", AccountSuspended, False),
        (422, ["property x should not exist"], VendorRefused, False),
        (404, "Cannot GET /x", VendorRefused, False),
        (400, "Contact with id abc not found", NoSuchContact, False),
        (404, "Contact not found", NoSuchContact, False),
        (400, "This location does not allow duplicated contacts.", VendorRefused, False),
        (500, "account is suspended", VendorDown, False),
        (429, "Too many", VendorBusy, False),
    ],
)
def test_a_refusal_is_known_by_its_text(status: int, message: Any, error: type[VendorFailed], renewable: bool) -> None:
    refused = answer(status, message)
    assert expired(refused) is renewable
    with pytest.raises(VendorFailed) as raised:
        checked(refused, Rate())
    assert type(raised.value) is error
    assert raised.value.status == status
    assert raised.value.message.startswith("gohighlevel: ")


def test_a_duplicate_names_the_contact_it_repeats() -> None:
    meta = {"contactId": "c-1", "contactName": "Ann", "matchingField": "email"}
    with pytest.raises(DuplicateContact) as raised:
        checked(answer(400, "This location does not allow duplicated contacts.", meta=meta), Rate())
    assert (raised.value.contact_id, raised.value.matching_field) == ("c-1", "email")


def test_the_limit_is_read_from_the_headers() -> None:
    rate = read_rate(
        answer(
            200,
            headers={
                "X-RateLimit-Max": "100",
                "X-RateLimit-Remaining": "42",
                "X-RateLimit-Interval-Milliseconds": "10000",
                "X-RateLimit-Daily-Remaining": "199000",
            },
        )
    )
    assert rate == Rate(burst=100, remaining=42, seconds=10.0, pause=0.0)


def test_the_daily_reset_may_be_a_date() -> None:
    reset = int(time.time() * 1000) + 7_200_000
    rate = read_rate(answer(200, headers={"X-RateLimit-Daily-Remaining": "0", "X-RateLimit-Daily-Reset": str(reset)}))
    assert 7100 <= rate.pause <= 7200


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (429, {}, 10, 10),
        (429, {"X-RateLimit-Interval-Milliseconds": "5000"}, 5, 5),
        (429, {"Retry-After": "3", "X-RateLimit-Interval-Milliseconds": "5000"}, 3, 3),
        (429, {"X-RateLimit-Daily-Remaining": "0", "X-RateLimit-Daily-Reset": "7200000"}, 7200, 7200),
        (200, {"X-RateLimit-Daily-Remaining": "0"}, 0, 86_400),
        (200, {"X-RateLimit-Daily-Remaining": "1"}, 0, 0),
    ],
)
def test_how_long_to_pause(status: int, headers: dict[str, str], least: float, most: float) -> None:
    refused = answer(status, headers=headers)
    rate = read_rate(refused)
    assert least <= rate.pause <= most
    if status == 429:
        with pytest.raises(VendorBusy) as raised:
            checked(refused, rate)
        assert raised.value.retry_after == rate.pause


@given(value=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30))
def test_senseless_headers_mean_nothing(value: str) -> None:
    names = ("Max", "Remaining", "Interval-Milliseconds", "Daily-Remaining", "Daily-Reset")
    headers = httpx.Headers([(f"X-RateLimit-{name}".encode(), value.encode("latin-1")) for name in names])
    rate = read_rate(answer(200, headers=headers))
    assert rate.pause >= 0
    assert rate.burst is None or rate.burst > 0
