"""What a vendor may answer, over real sockets, and which error each becomes."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import VendorBusy, VendorDown, VendorFailed, VendorRefused, VendorUnauthorized
from domain.vendors.http import Answer, VendorHttp, open_client
from tests.vendors.standin import served, talking

TOKEN = "a-secret-token-of-the-account"
Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as client:
        yield client


@pytest.fixture
def http(client: httpx.AsyncClient) -> VendorHttp:
    return VendorHttp(client, vendor="acme", max_body=100_000)


class Vendor:
    """Gives `answer` to every request and keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.answer = Response()
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.requests.append(request)
        self.bodies.append(await request.body())
        await self.answer(scope, receive, send)


def json_response(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status_code=status, headers=headers, media_type="application/json")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    async with served(vendor) as vendor.url:
        yield vendor


@pytest.fixture
def vendor(server: Vendor) -> Vendor:
    server.requests.clear()
    server.bodies.clear()
    return server


@pytest.fixture
def ask(http: VendorHttp, vendor: Vendor) -> Ask:
    """Ask the vendor, which answers as given."""

    async def request(answer: Response, method: str = "GET", **more: Any) -> Answer:
        vendor.answer = answer
        return await http.request(method, f"{vendor.url}/things", **{"operation": "things", **more})

    return request


async def test_an_answer_is_parsed_and_its_headers_are_at_hand(ask: Ask) -> None:
    answer = await ask(json_response({"name": "Zoë"}, headers={"X-Left": "9"}))
    assert (answer.status, answer.object(), answer.headers["x-left"]) == (200, {"name": "Zoë"}, "9")


async def test_json_form_and_params_are_sent_as_such(ask: Ask, vendor: Vendor) -> None:
    await ask(json_response({}), "POST", json={"é": 1}, params={"page": 2}, headers={"Version": "1"})
    await ask(json_response({}), "POST", form={"code": "x y"})
    await ask(json_response({}), "DELETE", json={})
    first, second, third = vendor.requests
    assert (first.headers["content-type"], first.query_params["page"], first.headers["version"]) == (
        "application/json",
        "2",
        "1",
    )
    assert second.headers["content-type"] == "application/x-www-form-urlencoded"
    assert vendor.bodies == ['{"é":1}'.encode(), b"code=x+y", b"{}"]
    assert third.method == "DELETE"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, VendorRefused),
        (401, VendorUnauthorized),
        (403, VendorRefused),
        (404, VendorRefused),
        (408, VendorDown),
        (409, VendorRefused),
        (422, VendorRefused),
        (425, VendorDown),
        (429, VendorBusy),
        (500, VendorDown),
        (502, VendorDown),
        (503, VendorDown),
        (599, VendorDown),
        (304, VendorDown),
    ],
)
async def test_each_status_becomes_one_error(ask: Ask, status: int, error: type[VendorFailed]) -> None:
    with pytest.raises(VendorFailed) as raised:
        await ask(Response(status_code=status))
    assert type(raised.value) is error
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "No such thing", "statusCode": 400}, "No such thing"),
        ({"message": ["a must be set", "b must be a number"]}, "a must be set; b must be a number"),
        ({"error": "invalid_grant", "error_description": "Token has been revoked."}, "Token has been revoked."),
        ({"error": {"code": 7, "message": "Billing limit"}}, "Billing limit"),
        ({"message": None, "error": "Bad Request"}, "Bad Request"),
        ({"message": "two\nlines\x07"}, "two lines"),
        (["odd"], "odd"),
        (7, "status 400"),
        ({"message": {}}, "status 400"),
    ],
)
async def test_the_vendors_own_words_are_kept(ask: Ask, body: Any, said: str) -> None:
    with pytest.raises(VendorRefused) as raised:
        await ask(json_response(body, status=400))
    assert raised.value.message == f"acme: {said}"


async def test_a_long_or_deep_message_is_bounded(ask: Ask) -> None:
    deep = b'{"error":' * 900 + b'"x"' + b"}" * 900
    for body in (orjson.dumps({"message": "x" * 5000}), deep, orjson.dumps({"message": ["y" * 200] * 50})):
        with pytest.raises(VendorRefused) as raised:
            await ask(Response(body, status_code=400))
        assert len(raised.value.message) < 320


async def test_no_credential_reaches_an_error(ask: Ask) -> None:
    echo = f"Bad {TOKEN}, Bearer other-token-123, eyJhbGciOi.eyJzdWIiOi.c2ln and hunter2-secret with pit-{'0' * 36}"
    with pytest.raises(VendorRefused) as raised:
        await ask(
            json_response({"message": echo}, status=400),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
    assert TOKEN not in raised.value.message
    assert "other-token-123" not in raised.value.message
    assert "eyJ" not in raised.value.message
    assert "pit-0" not in raised.value.message
    with pytest.raises(VendorRefused) as raised:
        await ask(json_response({"message": echo}, status=400), "POST", form={"client_secret": "hunter2-secret"})
    assert "hunter2" not in raised.value.message


async def test_a_credential_that_is_no_header_value_is_not_quoted(ask: Ask) -> None:
    with pytest.raises(VendorDown) as raised:
        await ask(Response(), headers={"Authorization": f"Bearer {TOKEN}\r\nX: y"})
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


async def test_how_long_to_wait_is_read_from_the_answer(ask: Ask) -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    for header, least, most in (
        ("7", 7, 7),
        ("1.5", 1.5, 1.5),
        (in_a_minute, 50, 60),
        ("soon", 10, 10),
        ("", 10, 10),
        ("-5", 10, 10),
    ):
        with pytest.raises(VendorBusy) as raised:
            await ask(Response(status_code=429, headers={"Retry-After": header}))
        assert least <= raised.value.retry_after <= most


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff\xfe", b'{"a":NaN}', b"[1]", b"null"])
async def test_what_is_no_json_object_is_unreadable(ask: Ask, body: bytes) -> None:
    answer = await ask(Response(body))
    with pytest.raises(VendorDown, match="unreadable"):
        answer.object()


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
async def test_too_much_data_is_not_read(ask: Ask, headers: dict[str, str]) -> None:
    body = b" " * 5_000_000
    with pytest.raises(VendorDown, match="too much data"):
        await ask(Response(gzip.compress(body) if headers else body, headers=headers))


async def test_a_broken_encoding_is_a_failure_of_the_vendors(ask: Ask) -> None:
    with pytest.raises(VendorDown, match="DecodingError"):
        await ask(Response(b"not gzip", headers={"Content-Encoding": "gzip"}))


async def test_redirects_are_not_followed(ask: Ask, vendor: Vendor) -> None:
    redirect = Response(status_code=302, headers={"Location": f"{vendor.url}/elsewhere"})
    with pytest.raises(VendorDown):
        await ask(redirect, headers={"Authorization": f"Bearer {TOKEN}"})
    assert [request.url.path for request in vendor.requests] == ["/things"]


async def test_cookies_of_one_account_do_not_travel_with_anothers(ask: Ask, vendor: Vendor) -> None:
    for _ in range(2):
        await ask(json_response({}, headers={"Set-Cookie": "session=of-account-1; Path=/"}))
    assert [request.headers.get("cookie") for request in vendor.requests] == [None, None]


async def test_a_proxy_is_not_asked_for_this_machine(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    vendor.answer = json_response({})
    async with open_client() as client:
        await VendorHttp(client, vendor="acme").request("GET", vendor.url, operation="things")
        with pytest.raises(VendorDown):
            await VendorHttp(client, vendor="acme").request("GET", "http://vendor.invalid/", operation="things")


async def test_nobody_listens(http: VendorHttp) -> None:
    async with talking(lambda _reader, _writer: asyncio.sleep(0)) as url:
        pass
    with pytest.raises(VendorDown, match="did not answer things"):
        await http.request("GET", url, operation="things")


@pytest.mark.parametrize(
    "url", ["http://[", "ftp://127.0.0.1/", "http://127.0.0.1:1/\x00", "not a url", "http://nowhere.invalid/"]
)
async def test_an_unusable_address_is_a_vendor_that_is_down(http: VendorHttp, url: str) -> None:
    with pytest.raises(VendorDown):
        await http.request("GET", url, operation="things")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"',
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_a_cut_connection_is_a_vendor_that_is_down(http: VendorHttp, said: bytes) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with talking(talk) as url:
        with pytest.raises(VendorDown):
            await http.request("GET", url, operation="things")


async def test_an_answer_that_drips_for_ever_ends_at_the_deadline(http: VendorHttp) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with talking(talk) as url:
        with pytest.raises(VendorDown, match="TimeoutError"):
            await http.request("GET", url, operation="things", timeout=0.1)


async def test_requests_are_counted_by_what_came_of_them(ask: Ask) -> None:
    await ask(json_response({}), operation="counted")
    for status in (503, 404, 429, 401):
        with pytest.raises(VendorFailed):
            await ask(Response(status_code=status), operation="counted")
    for outcome in ("ok", "down", "refused", "busy", "unauthorized"):
        labels = {"vendor": "acme", "operation": "counted", "outcome": outcome}
        assert REGISTRY.get_sample_value("bots_vendor_requests_total", labels) == 1
    assert REGISTRY.get_sample_value("bots_vendor_request_seconds_count", {"vendor": "acme", "operation": "counted"}) == 5
