"""One HTTP client for every vendor, and the one place where a vendor's answer becomes a domain error."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self

import httpx
import orjson
import structlog
from httpx import codes
from prometheus_client import Counter, Histogram

from domain import tracing
from domain.errors import VendorBusy, VendorDown, VendorRefused, VendorUnauthorized

log = structlog.get_logger(__name__)

TIMEOUT = 30.0
"""Seconds from sending a request to the last byte of its answer."""

_MAX_BODY = 32 * 1024 * 1024
_MAX_MESSAGE = 300
_DEFAULT_RETRY_AFTER = 10.0
_MIN_SECRET = 4
_TRANSIENT = frozenset({codes.REQUEST_TIMEOUT, codes.TOO_EARLY})
_ERRORS = {"unauthorized": VendorUnauthorized, "refused": VendorRefused, "down": VendorDown}
_MESSAGE_FIELDS = ("message", "error_description", "error", "detail", "msg")

# Vendors echo what they were sent; what is shaped like a credential never reaches a message.
_CREDENTIAL = re.compile(r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?|\bpit-[0-9a-f-]{36}|\b(?:Bearer|Basic)\s+\S+", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]+")
_SECRET_FIELDS = ("client_secret", "code", "refresh_token", "password", "token")

_requests = Counter("bots_vendor_requests", "Requests to vendors.", ["vendor", "operation", "outcome"])
_seconds = Histogram("bots_vendor_request_seconds", "Time until a vendor's whole answer was read.", ["vendor", "operation"])


def open_client(*, max_connections: int = 300) -> httpx.AsyncClient:
    """The process's one connection pool; whoever opens it closes it with `aclose()`."""
    return httpx.AsyncClient(
        follow_redirects=False,
        # Below the 5 s after which common servers close idle connections, so that none is reused while it is being closed.
        limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=4.0),
        timeout=httpx.Timeout(TIMEOUT, connect=5.0),
        headers={"User-Agent": "bottleneck-bots", "Accept": "application/json"},
        # The pool serves every account: a cookie that a vendor sets for one must not travel with another's request.
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        # A proxy from the environment is for the outside world, not for a sandbox on this machine.
        mounts={"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None},
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor said, whatever its status; `checked` turns a failure into the error that names it."""

    vendor: str
    operation: str
    status: int
    headers: httpx.Headers
    raw: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def json(self) -> Any:
        """The parsed body. Raises VendorDown when it is not JSON."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            raise self.unreadable() from None

    def object(self) -> dict[str, Any]:
        """The parsed body, an object. Raises VendorDown when it is anything else."""
        body = self.json()
        if not isinstance(body, dict):
            raise self.unreadable()
        return body

    def unreadable(self) -> VendorDown:
        """The error to raise when the body has not the promised shape."""
        return VendorDown(f"{self.vendor} answered something unreadable ({self.operation})", status=self.status)

    def message(self) -> str:
        """What the body says went wrong: one short line without credentials; empty when it says nothing."""
        try:
            body = orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return ""
        text = _first_text(body)
        for secret in self.secrets:
            text = text.replace(secret, "[hidden]")
        text = _CREDENTIAL.sub("[hidden]", " ".join(_UNPRINTABLE.sub(" ", text).split()))
        return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 3] + "..."

    def checked(self, *, retry_after: float | None = None) -> Self:
        """The answer itself when it is a 2xx. `retry_after` is what the caller knows of a 429, in seconds.

        Raises VendorBusy (429), VendorUnauthorized (401), VendorRefused (other 4xx), VendorDown (5xx, 408, 425, redirects).
        """
        outcome = _outcome(self.status)
        if outcome == "ok":
            return self
        text = f"{self.vendor}: {self.message() or f'status {self.status}'}"
        if outcome == "busy":
            wait = retry_after if retry_after is not None else read_retry_after(self.headers)
            raise VendorBusy(text, retry_after=_DEFAULT_RETRY_AFTER if wait is None else wait, status=self.status)
        raise _ERRORS[outcome](text, status=self.status)


class VendorHttp:
    """Requests to one vendor over the shared pool, counted, timed and logged."""

    def __init__(self, client: httpx.AsyncClient, *, vendor: str, max_body: int = _MAX_BODY) -> None:
        self._client = client
        self._vendor = vendor
        self._max_body = max_body

    async def request(
        self,
        method: str,
        url: str,
        *,
        operation: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - a deadline of the exchange that becomes VendorDown here
    ) -> Answer:
        """Send, and return a 2xx answer; anything else raises as `send` and `Answer.checked` say."""
        answer = await self.send(
            method, url, operation=operation, headers=headers, params=params, json=json, form=form, timeout=timeout
        )
        return answer.checked()

    async def send(
        self,
        method: str,
        url: str,
        *,
        operation: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - a deadline of the exchange that becomes VendorDown here
    ) -> Answer:
        """Send, and return the answer whatever its status. `operation` is a short constant for metrics, never an id.

        Raises VendorDown when no whole answer of an acceptable size came within `timeout` seconds.
        """
        sent = dict(headers or {})
        content = None
        if json is not None:
            content = orjson.dumps(json)
            sent["Content-Type"] = "application/json"
        outcome, status = "down", None
        started = time.perf_counter()
        try:
            request = self._client.build_request(method, url, params=params, headers=sent, content=content, data=form)
            # The vendor is not told of the trace.
            with tracing.span(f"{self._vendor} {operation}", kind="client") as span:
                async with asyncio.timeout(timeout):
                    response = await self._client.send(request, stream=True)
                    raw = await self._read(response, operation)
                status = response.status_code
                outcome = _outcome(status)
                sent_to = {"server.address": request.url.host, "http.request.method": method}
                span.set({**sent_to, "http.response.status_code": status})
                if outcome != "ok":
                    span.fail(outcome)
        except (httpx.RequestError, httpx.InvalidURL, TimeoutError) as error:
            # Without the cause: some of its kinds quote the offending header, and that is the credential.
            raise VendorDown(f"{self._vendor} did not answer {operation} ({type(error).__name__})") from None
        finally:
            seconds = time.perf_counter() - started
            _requests.labels(self._vendor, operation, outcome).inc()
            _seconds.labels(self._vendor, operation).observe(seconds)
            log.debug("vendor request", vendor=self._vendor, operation=operation, status=status, seconds=round(seconds, 4))
        return Answer(
            vendor=self._vendor,
            operation=operation,
            status=status,
            headers=response.headers,
            raw=raw,
            secrets=_secrets(sent, form),
        )

    async def _read(self, response: httpx.Response, operation: str) -> bytes:
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._max_body:
                    raise VendorDown(f"{self._vendor} answered {operation} with too much data", status=response.status_code)
            return bytes(body)
        finally:
            await response.aclose()


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None when there is none that makes sense."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,7}(\.\d{1,6})?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _outcome(status: int) -> str:
    if codes.is_success(status):
        return "ok"
    if status == codes.TOO_MANY_REQUESTS:
        return "busy"
    if status == codes.UNAUTHORIZED:
        return "unauthorized"
    return "refused" if codes.is_client_error(status) and status not in _TRANSIENT else "down"


def _first_text(body: Any, depth: int = 4) -> str:
    """The first text where vendors explain themselves: under a known key as a string, a list of strings, or an object again."""
    if isinstance(body, str):
        return body
    if isinstance(body, list) and depth:
        return "; ".join(text for item in body[:10] if (text := _first_text(item, depth - 1)))
    if isinstance(body, dict) and depth:
        return next((text for key in _MESSAGE_FIELDS if (text := _first_text(body.get(key), depth - 1))), "")
    return ""


def _secrets(headers: Mapping[str, str], form: Mapping[str, str] | None) -> tuple[str, ...]:
    """The credentials of a request, so that an answer which repeats them is cleaned of them."""
    sent = [headers.get("Authorization", "").rpartition(" ")[2], *((form or {}).get(name, "") for name in _SECRET_FIELDS)]
    return tuple(secret for secret in sent if len(secret) >= _MIN_SECRET)
