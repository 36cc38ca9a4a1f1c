"""Access and refresh tokens: signed, so that they outlive a restart of the sandbox.

What must be remembered (refresh tokens already used, companies whose tokens were expired or revoked) is in memory and
starts empty.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

import jwt

from domain.vendors.sandbox.gohighlevel.answers import Refused, refused

TokenClass = Literal["Company", "Location"]
REFRESH_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for. `location_id` is None for a company's token; `private` marks a Private Integration Token."""

    token_class: TokenClass
    company_id: str
    location_id: str | None
    scopes: frozenset[str]
    user_id: str
    private: bool = False

    @property
    def resource_id(self) -> str:
        """The location or company whose rate limit the token uses."""
        return self.location_id or self.company_id


class InvalidRefreshToken(Exception):
    """The refresh token is unknown, used, expired or revoked."""


class Tokens:
    """Issues and reads tokens. `now` is the sandbox's clock, in seconds."""

    def __init__(self, *, key: bytes, access_seconds: int, now: Callable[[], float]) -> None:
        self.access_seconds = access_seconds
        self._key = key
        self._now = now
        self._used: set[str] = set()
        self._expired: dict[str, int] = {}
        self._revoked: dict[str, int] = {}
        self._private: dict[str, Grant] = {}

    def access(self, grant: Grant, *, seconds: int | None = None) -> str:
        """A new access token."""
        return self._sign(grant, use="access", seconds=self.access_seconds if seconds is None else seconds)

    def refresh(self, grant: Grant) -> str:
        """A new refresh token."""
        return self._sign(grant, use="refresh", seconds=REFRESH_SECONDS)

    def add_private(self, token: str, grant: Grant) -> None:
        """Let `token` (`pit-<uuid>`) stand for `grant`."""
        self._private[token] = replace(grant, private=True)

    def read(self, token: str) -> Grant:
        """The grant of an access token or a Private Integration Token. Raises Refused (401)."""
        if token.startswith("pit-"):
            if token not in self._private:
                raise _invalid_token()
            return self._private[token]
        claims = self._claims(token, use="access")
        if claims is None or claims["exp"] <= self._now():
            raise refused(401, "Invalid JWT")
        company, issued = claims["companyId"], claims["issued"]
        if issued <= self._revoked.get(company, 0):
            raise _invalid_token()
        if issued <= self._expired.get(company, 0):
            raise refused(401, "Invalid JWT")
        return _grant(claims)

    def peek(self, token: str) -> Grant | None:
        """The grant that a token names, whether or not it is still accepted; None for what is no token."""
        claims = self._claims(token, use="access")
        return self._private.get(token) if claims is None else _grant(claims)

    def exchange(self, token: str) -> Grant:
        """The grant of a refresh token, which is used up by this. Raises InvalidRefreshToken."""
        claims = self._claims(token, use="refresh")
        if claims is None or claims["exp"] <= self._now() or claims["jti"] in self._used:
            raise InvalidRefreshToken
        if claims["issued"] <= self._revoked.get(claims["companyId"], 0):
            raise InvalidRefreshToken
        self._used.add(claims["jti"])
        return _grant(claims)

    def expire(self, company_id: str) -> None:
        """Let every access token of the company which exists now be past its time; refresh tokens stay good."""
        self._expired[company_id] = time.time_ns()

    def revoke(self, company_id: str) -> None:
        """Refuse every token of the company which exists now, refresh tokens too."""
        self._revoked[company_id] = time.time_ns()

    def unrevoke(self) -> None:
        """Accept revoked tokens again."""
        self._revoked.clear()

    def reset(self) -> None:
        """Forget what was used, expired or revoked."""
        self._used.clear()
        self._expired.clear()
        self._revoked.clear()

    def _sign(self, grant: Grant, *, use: str, seconds: int) -> str:
        now = int(self._now())
        claims = {
            "authClass": grant.token_class,
            "authClassId": grant.resource_id,
            "primaryAuthClassId": grant.resource_id,
            "companyId": grant.company_id,
            "locationId": grant.location_id,
            "userId": grant.user_id,
            "source": "INTEGRATION",
            "channel": "OAUTH",
            "oauthMeta": {"scopes": sorted(grant.scopes)},
            "use": use,
            "issued": time.time_ns(),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def _claims(self, token: str, *, use: str) -> dict[str, Any] | None:
        try:
            # The times are checked against the sandbox's own clock.
            claims = jwt.decode(token, self._key, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})
        except jwt.InvalidTokenError:
            return None
        return claims if claims.get("use") == use else None


def _grant(claims: dict[str, Any]) -> Grant:
    return Grant(
        token_class=claims["authClass"],
        company_id=claims["companyId"],
        location_id=claims["locationId"],
        scopes=frozenset(claims["oauthMeta"]["scopes"]),
        user_id=claims["userId"],
    )


def _invalid_token() -> Refused:
    return refused(401, "Invalid token: access token is invalid")
