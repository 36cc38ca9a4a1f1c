"""Tells GoHighLevel's webhooks from forgeries and replays."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from domain.errors import Forbidden, Invalid

SIGNATURE_HEADER = "X-GHL-Signature"
MAX_AGE = timedelta(minutes=5)

_RAW_KEY_BYTES = 32
_MAX_TEXT = 300


class Forged(Forbidden):
    """The body is not signed with the vendor's key."""


class Stale(Invalid):
    """The event is signed but too old, or from the future: a replay, or a clock that is wrong."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A genuine event. The same `webhook_id` may arrive again: to see to that is the receiver's part."""

    type: str
    webhook_id: str
    location_id: str | None
    company_id: str | None
    occurred_at: datetime
    payload: dict[str, Any]


def load_public_key(text: str) -> Ed25519PublicKey:
    """The key from PEM, base64 of DER, or base64 of its 32 bytes. Raises ValueError for anything else."""
    # An environment variable often carries PEM with its line ends spelt out.
    text = text.replace("\\n", "\n").strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_public_key(text.encode())
        else:
            raw = base64.b64decode("".join(text.split()), validate=True)
            key = Ed25519PublicKey.from_public_bytes(raw) if len(raw) == _RAW_KEY_BYTES else load_der_public_key(raw)
    except ValueError:
        raise ValueError("this is no Ed25519 public key in PEM or base64") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("this is a public key, but not of Ed25519")  # noqa: TRY004 - a wrong value to whoever configures it
    return key


def verify(raw: bytes, *, signature: str | None, public_key: Ed25519PublicKey, now: datetime) -> WebhookEvent:
    """The event in the request body `raw`, whose X-GHL-Signature header is `signature`.

    Raises Forged, Stale (more than five minutes from `now`), or Invalid when what is signed is no event.
    """
    _check_signature(raw, signature, public_key)
    try:
        payload = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Invalid("The webhook is not JSON") from None
    if not isinstance(payload, dict):
        raise Invalid("The webhook is no JSON object")
    kind = _text(payload, "type")
    webhook_id = _text(payload, "webhookId")
    occurred_at = _moment(payload)
    if kind is None or webhook_id is None or occurred_at is None:
        raise Invalid("The webhook lacks its type, webhookId or timestamp")
    if abs(now - occurred_at) > MAX_AGE:
        raise Stale("The webhook is older than five minutes or from the future")
    location_id = _text(payload, "id") if kind in ("LocationCreate", "LocationUpdate") else None
    return WebhookEvent(
        type=kind,
        webhook_id=webhook_id,
        location_id=_text(payload, "locationId") or location_id,
        company_id=_text(payload, "companyId"),
        occurred_at=occurred_at,
        payload=payload,
    )


def _check_signature(raw: bytes, signature: str | None, public_key: Ed25519PublicKey) -> None:
    try:
        public_key.verify(base64.b64decode(signature or "", validate=True), raw)
    except (InvalidSignature, binascii.Error, ValueError):
        raise Forged("The webhook is not signed by GoHighLevel") from None


def _text(payload: dict[str, Any], key: str) -> str | None:
    """A text that can be kept and looked for; what else is there counts as missing."""
    value = payload.get(key)
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and "\x00" not in value else None


def _moment(payload: dict[str, Any]) -> datetime | None:
    try:
        moment = datetime.fromisoformat(payload.get("timestamp", ""))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
