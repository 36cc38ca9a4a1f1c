"""A call of GoHighLevel's API: authorised, kept within the rate limit, renewed once when its token has expired."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from domain.errors import Invalid, VendorDown, VendorUnauthorized
from domain.vendors.gohighlevel.answers import checked, expired, read_rate
from domain.vendors.http import Answer, VendorHttp
from domain.vendors.limits import Limiter, Rate

VERSION = "2021-07-28"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RepeatedCursor(VendorDown):
    """The vendor's paging goes round in circles; going on would never end."""


class TokenSource(Protocol):
    """Where a client gets its access token from."""

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token to use now; `rejected` is one that the vendor has just refused as expired or invalid."""


class Caller:
    """Holds one token; `resource_id` is the location's or the company's id, to which the rate limit applies."""

    def __init__(self, http: VendorHttp, *, base_url: str, limiter: Limiter, tokens: TokenSource, resource_id: str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._limiter = limiter
        self._tokens = tokens
        self.resource_id = resource_id

    async def call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        version: str = VERSION,
    ) -> Answer:
        """A checked answer. `operation` names the call in metrics. Raises VendorFailed and its narrower kinds."""

        async def attempt(token: str) -> tuple[Answer, Rate]:
            headers = {"Authorization": f"Bearer {token}", "Version": version}
            url = self._base_url + path
            async with self._limiter.slot(self.resource_id) as slot:
                answer = await self._http.send(method, url, operation=operation, headers=headers, params=params, json=json)
                slot.rate = read_rate(answer)
                return answer, slot.rate

        token = await self._tokens.access_token()
        answer, rate = await attempt(token)
        if expired(answer):
            renewed = await self._tokens.access_token(rejected=token)
            if renewed == token:
                raise VendorUnauthorized("GoHighLevel no longer accepts the stored authorisation", status=answer.status)
            answer, rate = await attempt(renewed)
        return checked(answer, rate)


def path_id(text: str) -> str:
    """An id fit to be a part of a path. Raises Invalid for what no id of the vendor's looks like."""
    if not _ID.fullmatch(text):
        raise Invalid("This is no id of GoHighLevel's")
    return text


def rows_of(answer: Answer, key: str) -> list[dict[str, Any]]:
    """The objects of a list in the answer. Raises VendorDown where there is no such list."""
    rows = answer.object().get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise answer.unreadable()
    return rows


def row_of(answer: Answer, key: str) -> dict[str, Any]:
    """An object in the answer that has an id. Raises VendorDown where there is none."""
    row = answer.object().get(key)
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise answer.unreadable()
    return row


def texts_of(answer: Answer, key: str) -> list[str]:
    """The texts of a list in the answer. Raises VendorDown where there is no such list."""
    texts = answer.object().get(key)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise answer.unreadable()
    return texts
