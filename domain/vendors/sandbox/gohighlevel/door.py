"""Every request's way in: the log, ordered faults, the route, the Version header, the token, the rate limit, the scope.

`Door` is the ASGI application of the vendor. Its endpoints are plain functions from a `Call` to an `Answer`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import parse_qsl

import orjson
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from domain.vendors.sandbox.gohighlevel import dto, trouble
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, Refused, foreign_location, no_route, refused
from domain.vendors.sandbox.gohighlevel.contact_book import Contact
from domain.vendors.sandbox.gohighlevel.faults import Fault
from domain.vendors.sandbox.gohighlevel.record import record
from domain.vendors.sandbox.gohighlevel.state import Company, Location, World
from domain.vendors.sandbox.gohighlevel.tokens import Grant

VERSIONS = frozenset({"2021-04-15", "2021-07-28", "2023-02-21", "v3"})
"""Known values of the Version header; any is accepted on every established path."""

FORM = "application/x-www-form-urlencoded"
BODY_LIMIT = 10 * 1024 * 1024

Access = Literal["location", "agency", "both", "open"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation.

    `access` says which class of token reaches it; `open` needs neither a token nor a Version. `form` bodies must be
    form-encoded; `private` says whether a Private Integration Token will do.
    """

    method: str
    path: str
    handle: "Callable[[Call], Answer]"
    scope: str = ""
    access: Access = "location"
    form: bool = False
    private: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """What an endpoint is given. `quirks` are the faults that the endpoint itself must act out."""

    world: World
    method: str
    raw_path: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    who: Grant | None
    quirks: Mapping[str, Json]

    @property
    def grant(self) -> Grant:
        """Whom the token stands for; only endpoints that are not open may ask."""
        if self.who is None:
            raise refused(401, "Unauthorized")
        return self.who

    @property
    def company(self) -> Company:
        """The token's company."""
        return self.world.companies[self.grant.company_id]

    def company_named(self, company_id: str | None) -> Company:
        """The token's company, which must be the one that the request names, if it names one. Raises Refused (403)."""
        if company_id is not None and company_id != self.grant.company_id:
            raise foreign_location()
        return self.company

    def location(self, location_id: str | None = None) -> Location:
        """The location the request names, by default the token's own. Raises Refused (403) where the token has no access."""
        wanted = location_id or self.grant.location_id
        location = self.world.location(wanted) if wanted else None
        if location is None or location.id not in self.company.location_ids:
            raise foreign_location()
        if self.grant.location_id not in (None, location.id):
            raise foreign_location()
        return location

    def contact(self, contact_id: str) -> Contact:
        """A contact of the token's location. Raises Refused: 400 for an unknown id, 403 for another location's."""
        contact = self.location().contacts.get(contact_id)
        if contact is None:
            if self.world.has_contact(contact_id):
                raise foreign_location()
            raise refused(400, f"Contact with id {contact_id} not found")
        return contact

    def input(self, shape: dto.Shape) -> Json:
        """The body, once it is valid. Raises Refused (422)."""
        dto.demand(self.body, shape)
        return dict(self.body)

    def params(self, shape: dto.Shape) -> Json:
        """The query, once it is valid. Raises Refused (422)."""
        dto.demand(self.query, shape)
        return dict(self.query)


class Door:
    """The vendor as an ASGI application."""

    def __init__(self, world: World, endpoints: tuple[Endpoint, ...]) -> None:
        self.world = world
        self._routes: list[tuple[str, re.Pattern[str], Endpoint]] = [
            (endpoint.method, compile_path(endpoint.path)[0], endpoint) for endpoint in endpoints
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        body = _parse(await _read(receive), headers)
        faults = self._meet(scope["method"], scope["path"], query, headers, body)
        if await trouble.stop(faults, receive, ordered=self.world.faults):
            return
        quirks: dict[str, Json] = {fault.kind: dict(fault.how) for fault in faults}
        call = Call(self.world, scope["method"], scope["path"], {}, query, body, None, quirks)
        answer = self._answer(call, headers)
        if "cut" in quirks:
            await trouble.cut(receive, send, answer=answer)
        else:
            await trouble.send_whole(send, answer)

    def _meet(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any) -> list[Fault]:
        """Log and count the request; the faults that hit it."""
        peeked = self.world.tokens.peek(_token(headers))
        self.world.counts[f"{method} {path}"] += 1
        self.world.requests.append(record(method, path, query, headers, body, peeked))
        return self.world.faults.take(
            method=method,
            path=path,
            location=_named_location(query, body) or (peeked.location_id if peeked else None),
            company=peeked.company_id if peeked else None,
        )

    def _answer(self, call: Call, headers: Mapping[str, str]) -> Answer:
        limits = self.world.limits
        standing = limits.look()
        try:
            endpoint, call = self._route(call)
            if endpoint.form and not headers.get("content-type", "").startswith(FORM):
                call = replace(call, body={})
            if endpoint.access != "open":
                _check_version(headers)
                grant = self._grant(headers)
                standing = limits.take(grant.resource_id)
                if not standing.allowed:
                    self.world.throttled += 1
                    raise refused(429, "Too many requests, please try again later.")
                _check_access(endpoint, grant)
                call = replace(call, who=grant)
                if endpoint.scope.endswith(".write") and grant.location_id:
                    self.world.touch(grant.location_id)
            answer = trouble.ordered_answer(call.quirks) or _handled(endpoint, call)
        except Refused as refusal:
            answer = refusal.answer
        return replace(answer, headers={**limits.headers(standing), **answer.headers})

    def _route(self, call: Call) -> tuple[Endpoint, Call]:
        plain = call.raw_path.rstrip("/") or "/"
        for method, pattern, endpoint in self._routes:
            if method == call.method and (match := pattern.match(plain)):
                return endpoint, replace(call, path=match.groupdict())
        raise no_route(call.method, call.raw_path)

    def _grant(self, headers: Mapping[str, str]) -> Grant:
        grant = self.world.tokens.read(_token(headers))
        if self.world.companies[grant.company_id].suspended:
            raise refused(403, "Location is not active")
        return grant


INVALID_JSON = object()
"""The body of a request that is not JSON."""


def _token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme == "Bearer" else ""


def _handled(endpoint: Endpoint, call: Call) -> Answer:
    if call.body is INVALID_JSON:
        raise refused(400, "Unexpected token in JSON at position 0")
    return endpoint.handle(call)


def _check_version(headers: Mapping[str, str]) -> None:
    version = headers.get("version")
    if not version:
        raise refused(401, "version header was not found.")
    if version not in VERSIONS:
        raise refused(401, "version header is invalid")


def _check_access(endpoint: Endpoint, grant: Grant) -> None:
    wanted = {"location": ("Location",), "agency": ("Company",), "both": ("Location", "Company")}[endpoint.access]
    if grant.token_class not in wanted or (grant.private and not endpoint.private):
        raise refused(
            401,
            "Token's user type mismatch!"
            if grant.private
            else "This authClass type is not allowed to access this scope. Please check the token's authClass.",
        )
    if endpoint.scope and endpoint.scope not in grant.scopes:
        raise refused(401, "The token is not authorized for this scope.")


def _parse(raw: bytes, headers: Mapping[str, str]) -> Any:
    if headers.get("content-type", "").startswith(FORM):
        return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    if not raw:
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return INVALID_JSON


def _named_location(query: Mapping[str, str], body: Any) -> str | None:
    named = query.get("locationId") or query.get("location_id") or (body.get("locationId") if isinstance(body, dict) else None)
    return named if isinstance(named, str) else None


async def _read(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body") or size > BODY_LIMIT:
            break
    return b"".join(parts)
