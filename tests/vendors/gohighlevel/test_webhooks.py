"""Genuine, forged, stale and broken webhooks."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DomainError, Invalid
from domain.vendors.gohighlevel.webhooks import Forged, Stale, WebhookEvent, load_public_key, verify

KEY = Ed25519PrivateKey.generate()
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "type": "ContactUpdate",
    "webhookId": "wh-1",
    "timestamp": "2026-11-23T11:59:30.250Z",
    "locationId": "ve9EPM428h8vShlRW1KT",
    "id": "nmFmQEsNgz6AVpgLVUJ0",
    "email": "ann@example.com",
}


def signed(raw: bytes) -> str:
    return base64.b64encode(KEY.sign(raw)).decode()


def received(**changes: Any) -> WebhookEvent:
    raw = orjson.dumps({name: value for name, value in {**EVENT, **changes}.items() if value is not None})
    return verify(raw, signature=signed(raw), public_key=KEY.public_key(), now=NOW)


def test_a_genuine_event_is_read() -> None:
    event = received()
    assert (event.type, event.webhook_id, event.location_id, event.company_id) == (
        "ContactUpdate",
        "wh-1",
        "ve9EPM428h8vShlRW1KT",
        None,
    )
    assert event.occurred_at == datetime(2026, 11, 23, 11, 59, 30, 250_000, tzinfo=UTC)
    assert event.payload["email"] == "ann@example.com"


def test_a_locations_own_event_names_it_by_id() -> None:
    event = received(type="LocationUpdate", locationId=None, companyId="co-1")
    assert (event.location_id, event.company_id) == (EVENT["id"], "co-1")


@pytest.mark.parametrize("signature", [None, "", "N/A", "!!!", "AAAA", "é", base64.b64encode(bytes(64)).decode()])
def test_an_unsigned_event_is_forged(signature: str | None) -> None:
    with pytest.raises(Forged):
        verify(orjson.dumps(EVENT), signature=signature, public_key=KEY.public_key(), now=NOW)


def test_a_changed_event_or_another_key_is_forged() -> None:
    raw = orjson.dumps(EVENT)
    with pytest.raises(Forged):
        verify(raw + b" ", signature=signed(raw), public_key=KEY.public_key(), now=NOW)
    with pytest.raises(Forged):
        verify(raw, signature=signed(raw), public_key=Ed25519PrivateKey.generate().public_key(), now=NOW)


@pytest.mark.parametrize(("away", "stale"), [(-301, True), (-299, False), (299, False), (301, True)])
def test_an_event_far_from_now_is_stale(away: int, stale: bool) -> None:
    timestamp = (NOW + timedelta(seconds=away)).isoformat()
    if stale:
        with pytest.raises(Stale):
            received(timestamp=timestamp)
    else:
        assert received(timestamp=timestamp).webhook_id == "wh-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"type": None},
        {"type": 7},
        {"type": ""},
        {"webhookId": None},
        {"webhookId": {"a": 1}},
        {"timestamp": None},
        {"timestamp": "yesterday"},
        {"timestamp": 1_700_000_000},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_a_signed_event_without_its_envelope_is_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        received(**changes)


@given(raw=st.binary(max_size=200) | st.sampled_from([b"[]", b"null", b'"x"', b"{}", b"[" * 5000]))
def test_whatever_is_signed_gives_an_event_or_a_coded_error(raw: bytes) -> None:
    with pytest.raises(DomainError):
        verify(raw, signature=signed(raw), public_key=KEY.public_key(), now=NOW)


def test_a_public_key_is_read_from_each_common_form() -> None:
    key = KEY.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    der = base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    raw = base64.b64encode(key.public_bytes_raw()).decode()
    for text in (pem, pem.replace("\n", "\\n"), der, raw, f"  {raw}\n"):
        assert load_public_key(text) == key


def test_any_other_key_is_refused() -> None:
    other = (
        generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
    for text in ("", "N/A", "AAAA", "é", "-----BEGIN PUBLIC KEY-----", other):
        with pytest.raises(ValueError, match="public key"):
            load_public_key(text)
