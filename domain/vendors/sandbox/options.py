"""What the sandbox's process is told by its environment."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

SEED_BYTES = 32
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the sandbox behaves; the defaults are the vendor's documented figures.

    `webhook_seed` is a raw Ed25519 seed (None: a new key each start), `webhook_url` where webhooks go (None: nowhere).
    Without `client_id` and `client_secret` any app is accepted. Without `mail_port` there is no mail server.
    """

    webhook_seed: bytes | None = field(default=None, repr=False)
    webhook_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    rate_limit: bool = True
    burst: int = 100
    interval_seconds: float = 10.0
    daily: int = 200_000
    access_token_seconds: int = 86_399
    mail_host: str = "127.0.0.1"
    mail_port: int | None = None


class BadOptions(ValueError):
    """The environment is not usable; the message names the variable."""


def from_environment(environment: Mapping[str, str]) -> Options:
    """Read SANDBOX_WEBHOOK_KEY, SANDBOX_WEBHOOK_URL, SANDBOX_RATE_LIMIT, SANDBOX_MAIL_PORT, GHL_CLIENT_ID, GHL_CLIENT_SECRET.

    Raises BadOptions.
    """
    throttle = environment.get("SANDBOX_RATE_LIMIT") or "on"
    if throttle not in ("on", "off"):
        raise BadOptions("SANDBOX_RATE_LIMIT is on or off")
    return Options(
        webhook_seed=_seed(environment.get("SANDBOX_WEBHOOK_KEY")),
        webhook_url=environment.get("SANDBOX_WEBHOOK_URL") or None,
        client_id=environment.get("GHL_CLIENT_ID") or None,
        client_secret=environment.get("GHL_CLIENT_SECRET") or None,
        rate_limit=throttle == "on",
        mail_port=_port(environment.get("SANDBOX_MAIL_PORT")),
    )


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= _HIGHEST_PORT:
        raise BadOptions("SANDBOX_MAIL_PORT is the number of a port")
    return int(text)


def _seed(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        seed = base64.b64decode(text, validate=True)
    except binascii.Error:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise BadOptions("SANDBOX_WEBHOOK_KEY is the base64 of a raw Ed25519 seed of 32 bytes")
    return seed
