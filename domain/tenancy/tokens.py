"""What bearers show: signed access tokens, and secrets of which only a hash is kept."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import jwt

from domain.errors import Unauthenticated
from domain.settings import Settings

ACCESS_LIFETIME = timedelta(minutes=15)
_ISSUER = "bottleneck-bots"


def new_secret(prefix: str = "") -> tuple[str, bytes]:
    """A secret that nobody guesses, and the hash that is kept of it."""
    secret = prefix + secrets.token_urlsafe(32)
    return secret, digest(secret)


def digest(secret: str) -> bytes:
    """By which a secret is found again."""
    return hashlib.sha256(secret.encode()).digest()


def sign(settings: Settings, *, user_id: UUID, session_id: UUID, now: datetime) -> tuple[str, datetime]:
    """An access token, and when it ends."""
    expires_at = now + ACCESS_LIFETIME
    claims = {"iss": _ISSUER, "sub": str(user_id), "sid": str(session_id), "iat": now, "exp": expires_at}
    return jwt.encode(claims, settings.access_token_key.get_secret_value(), algorithm="HS256"), expires_at


def read(settings: Settings, token: str) -> tuple[UUID, datetime]:
    """The session of an access token, and when the token ends. Raises Unauthenticated."""
    try:
        session_id, expires_at = _verified(token, settings.access_token_key.get_secret_value())
    except (jwt.InvalidTokenError, ValueError):
        raise Unauthenticated("This access token is not valid.") from None
    if expires_at <= datetime.now(UTC):
        raise Unauthenticated("The access token has expired; refresh it.")
    return session_id, expires_at


@lru_cache(maxsize=10_000)
def _verified(token: str, key: str) -> tuple[UUID, datetime]:
    """What a signature vouches for does not change, and a client shows its token with every request. Expired ones pass."""
    claims = jwt.decode(
        token, key, algorithms=["HS256"], issuer=_ISSUER, options={"require": ["exp", "sid", "iss"], "verify_exp": False}
    )
    return UUID(str(claims["sid"])), datetime.fromtimestamp(claims["exp"], UTC)
