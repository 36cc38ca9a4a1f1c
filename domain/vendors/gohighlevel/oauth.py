"""GoHighLevel's OAuth: how an agency lets the app in, and how its tokens are kept alive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from domain.errors import VendorDown, VendorFailed, VendorRefused, VendorUnauthorized
from domain.vendors.gohighlevel.answers import checked, read_rate
from domain.vendors.gohighlevel.calls import VERSION, RepeatedCursor
from domain.vendors.gohighlevel.wire import WireInstalledLocation
from domain.vendors.http import Answer, VendorHttp
from domain.vendors.limits import Limiter, Rate

SCOPES: Mapping[str, str] = {
    "contacts.readonly": "Read contacts and their notes",
    "contacts.write": "Create, change and delete contacts, their tags and notes",
    "opportunities.readonly": "Read opportunities and pipelines",
    "opportunities.write": "Create and change opportunities",
    "campaigns.readonly": "List campaigns",
    "workflows.readonly": "List workflows",
    "locations.readonly": "Read sub-accounts",
    "locations/customFields.readonly": "Read custom fields",
    "locations/customFields.write": "Create and change custom fields",
    "locations/tags.readonly": "Read tags",
    "locations/tags.write": "Create and change tags",
    "calendars.readonly": "Read calendars and free slots",
    "calendars.write": "Create and change calendars",
    "calendars/events.readonly": "Read appointments",
    "calendars/events.write": "Book, change and cancel appointments",
    "users.readonly": "Read users, to show who a contact is assigned to",
    "companies.readonly": "Read the agency's name and time zone",
    "oauth.readonly": "See in which sub-accounts the app is installed",
    "oauth.write": "Act in those sub-accounts",
}
"""Every scope that the product needs, with what it is for in words for a user."""

_LOCATIONS_PAGE = 100
_DEFAULT_LIFETIME = 86_399  # seconds; the vendor's, where an answer does not say

# What the vendor's texts mean; it publishes no list of codes.
_REASONS = (
    ("redirect", "redirect_mismatch"),
    ("authorization code", "invalid_code"),
    ("refresh token", "invalid_refresh_token"),
    ("refresh_token", "invalid_refresh_token"),
    ("invalid grant", "invalid_refresh_token"),
    ("invalid_grant", "invalid_refresh_token"),
    ("client", "invalid_client"),
)


class GrantRefused(VendorRefused):
    """The vendor gives no token.

    `reason` is invalid_code, invalid_refresh_token, redirect_mismatch, invalid_client or refused.
    """

    def __init__(self, message: str, *, reason: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """The marketplace app, as registered at GoHighLevel."""

    client_id: str
    client_secret: str = field(repr=False)
    api_url: str
    authorize_url: str

    @property
    def id(self) -> str:
        """The app's id: the client id without its suffix."""
        return self.client_id.partition("-")[0]


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What the vendor granted. `refresh_token` is good for one use; None where a token is made from a company's instead."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime
    scopes: frozenset[str]
    user_type: str
    company_id: str
    location_id: str | None
    user_id: str | None

    @property
    def missing_scopes(self) -> frozenset[str]:
        """What of SCOPES was not granted."""
        return frozenset(SCOPES) - self.scopes


class OAuth:
    """The token endpoints. Every method raises VendorBusy, VendorDown, AccountSuspended, or what it names itself."""

    def __init__(self, http: VendorHttp, app: OAuthApp, *, limiter: Limiter) -> None:
        self._http = http
        self._app = app
        self._limiter = limiter

    def authorize_url(self, *, redirect_uri: str, state: str, scopes: Iterable[str] = SCOPES) -> str:
        """Where to send the browser; it returns to `redirect_uri` with `state` and a `code`, or an `error`."""
        query = {
            "response_type": "code",
            "client_id": self._app.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": state,
            "loginWindowOpenMode": "self",
        }
        return f"{self._app.authorize_url}?{urlencode(query)}"

    async def exchange_code(self, *, code: str, redirect_uri: str, user_type: str | None = None) -> TokenGrant:
        """Turn a code into tokens; a code works once, so after VendorDown it may be spent. Raises GrantRefused.

        `user_type` asks for a Company's or a Location's token; the grant says which it became.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._token("oauth.exchange", form if user_type is None else {**form, "user_type": user_type})

    async def refresh(self, *, refresh_token: str, user_type: str) -> TokenGrant:
        """New tokens for an old refresh token, which is spent by this: store the new one at once.

        Raises GrantRefused when it was used, revoked or has expired; after VendorDown it may be spent or not.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "user_type": user_type}
        return await self._token("oauth.refresh", form)

    async def location_token(self, *, company_token: str, company_id: str, location_id: str) -> TokenGrant:
        """A location's token made from its company's.

        Raises VendorUnauthorized when the company's has expired, MissingScope, or GrantRefused when the location has no app.
        """
        asked_at = datetime.now(UTC)
        answer, rate = await self._as_company(
            "oauth.location_token",
            "POST",
            "/oauth/locationToken",
            token=company_token,
            company_id=company_id,
            form={"companyId": company_id, "locationId": location_id},
        )
        grant = _grant(_granted(answer, rate), asked_at, user_type="Location", company_id=company_id, location_id=location_id)
        if grant.location_id != location_id:
            raise VendorDown("GoHighLevel granted a token for another location", status=answer.status)
        return grant

    async def installed_locations(self, *, company_token: str, company_id: str) -> list[WireInstalledLocation]:
        """The locations in which the app is installed. Raises VendorUnauthorized when the token has expired, MissingScope."""
        found: dict[str, WireInstalledLocation] = {}
        skip = 0
        while True:
            answer, rate = await self._as_company(
                "oauth.installed_locations",
                "GET",
                "/oauth/installedLocations",
                token=company_token,
                company_id=company_id,
                params={
                    "companyId": company_id,
                    "appId": self._app.id,
                    "isInstalled": "true",
                    "skip": skip,
                    "limit": _LOCATIONS_PAGE,
                },
            )
            rows = checked(answer, rate).object().get("locations")
            if not isinstance(rows, list):
                raise answer.unreadable()
            if not rows:
                return list(found.values())
            before = len(found)
            known = [row for row in rows if isinstance(row, dict) and isinstance(row.get("_id"), str)]
            found.update((row["_id"], cast("WireInstalledLocation", row)) for row in known)
            if len(found) == before:
                raise RepeatedCursor("GoHighLevel repeats its pages of installed locations", status=answer.status)
            skip += len(rows)

    async def _token(self, operation: str, form: Mapping[str, str]) -> TokenGrant:
        asked_at = datetime.now(UTC)
        answer = await self._http.send(
            "POST",
            f"{self._app.api_url.rstrip('/')}/oauth/token",
            operation=operation,
            form={"client_id": self._app.client_id, "client_secret": self._app.client_secret, **form},
        )
        return _grant(_granted(answer, read_rate(answer), final_401=True), asked_at)

    async def _as_company(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        token: str,
        company_id: str,
        params: Mapping[str, str | int] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[Answer, Rate]:
        headers = {"Authorization": f"Bearer {token}", "Version": VERSION}
        url = self._app.api_url.rstrip("/") + path
        async with self._limiter.slot(company_id) as slot:
            answer = await self._http.send(method, url, operation=operation, headers=headers, params=params, form=form)
            slot.rate = read_rate(answer)
            return answer, slot.rate


def _granted(answer: Answer, rate: Rate, *, final_401: bool = False) -> Answer:
    """The answer when it is a 2xx. A plain refusal becomes GrantRefused, a 401 too where no token was shown."""
    try:
        return checked(answer, rate)
    except VendorFailed as error:
        plain = type(error) is VendorRefused or (final_401 and type(error) is VendorUnauthorized)
        if not plain:
            raise
        text = error.message.lower()
        reason = next((reason for words, reason in _REASONS if words in text), "refused")
        raise GrantRefused(error.message, reason=reason, status=error.status) from None


def _grant(
    answer: Answer, asked_at: datetime, *, user_type: str = "", company_id: str = "", location_id: str | None = None
) -> TokenGrant:
    """The grant that a token answer describes; what it leaves out is as asked for."""
    body = answer.object()
    token, refresh_token, lifetime = body.get("access_token"), body.get("refresh_token"), body.get("expires_in")
    if not isinstance(token, str) or not token or (refresh_token is not None and not isinstance(refresh_token, str)):
        raise answer.unreadable()
    seconds = lifetime if isinstance(lifetime, int | float) and 0 < lifetime <= 366 * _DEFAULT_LIFETIME else _DEFAULT_LIFETIME
    grant = TokenGrant(
        access_token=token,
        refresh_token=refresh_token or None,
        expires_at=asked_at + timedelta(seconds=seconds),
        scopes=frozenset(str(body.get("scope") or "").split()),
        user_type=_text(body, "userType") or user_type,
        company_id=_text(body, "companyId") or company_id,
        location_id=_text(body, "locationId") or location_id,
        user_id=_text(body, "userId"),
    )
    if grant.user_type not in ("Company", "Location") or not grant.company_id:
        raise answer.unreadable()
    return grant


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) and value else None
