"""Ordered faults: what they hit, how often, and that all is well afterwards."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from domain.vendors.sandbox.app import build
from domain.vendors.sandbox.gohighlevel import seed
from domain.vendors.sandbox.options import Options
from tests.vendors.sandbox.harness import Sandbox, until

CONTACT = f"/contacts/{seed.contact_id(seed.LARGE, 0)}"
SEARCH = {"method": "POST", "path": "/contacts/search"}


async def test_a_status_comes_so_many_times_and_then_no_more(sandbox: Sandbox) -> None:
    await sandbox.fault("status", match={"method": "GET", "path": "/contacts/*"}, times=2, skip=1, status=503)
    statuses = [(await sandbox.call("GET", CONTACT)).status_code for _ in range(4)]
    assert statuses == [200, 503, 503, 200]


async def test_a_fault_hits_only_what_it_matches(sandbox: Sandbox) -> None:
    await sandbox.fault("status", match={**SEARCH, "location": seed.NORTHWIND_FIRST.id}, times=None, status=500)
    await sandbox.search()
    body = {"locationId": seed.NORTHWIND_FIRST.id, "pageLimit": 1}
    headers = sandbox.location_headers(seed.NORTHWIND_FIRST)
    assert (await sandbox.call("POST", "/contacts/search", json=body, headers=headers)).status_code == 500
    assert (await sandbox.call("GET", f"/contacts/?locationId={seed.NORTHWIND_FIRST.id}", headers=headers)).status_code == 200
    await sandbox.control("DELETE", "faults")
    assert (await sandbox.call("POST", "/contacts/search", json=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("how", "media_type"),
    [
        ({"status": 400, "message": "odd"}, "application/json"),
        ({"status": 401}, "application/json"),
        ({"status": 429, "headers": {"X-RateLimit-Daily-Remaining": 0}}, "application/json"),
        ({"status": 503}, "text/html"),
        ({"status": 418, "body": {"tea": True}}, "application/json"),
    ],
)
async def test_any_status(sandbox: Sandbox, how: dict[str, Any], media_type: str) -> None:
    await sandbox.fault("status", **how)
    answer = await sandbox.call("GET", CONTACT)
    assert answer.status_code == how["status"]
    assert answer.headers["content-type"].startswith(media_type)
    assert "x-ratelimit-max" in answer.headers
    if how["status"] == 429:
        assert answer.headers["x-ratelimit-remaining"] == answer.headers["x-ratelimit-daily-remaining"] == "0"
    if how["status"] == 401:
        assert answer.json()["message"] == "Invalid JWT"


async def test_the_token_endpoint_can_fail_too(sandbox: Sandbox) -> None:
    await sandbox.fault("status", match={"path": "/oauth/token"}, status=503)
    tokens = sandbox.world.tokens.refresh(sandbox.world.grant(sandbox.world.companies[seed.BRIGHT.id]))
    assert (await sandbox.token(grant_type="refresh_token", refresh_token=tokens)).status_code == 503
    assert (await sandbox.token(grant_type="refresh_token", refresh_token=tokens)).status_code == 200


async def test_latency_delays_and_then_answers(sandbox: Sandbox) -> None:
    await sandbox.fault("latency", ms=80)
    await sandbox.fault("status", status=503)
    began = time.perf_counter()
    assert (await sandbox.call("GET", CONTACT)).status_code == 503
    assert time.perf_counter() - began >= 0.08


@pytest.mark.parametrize(("where", "error"), [("before", httpx.ReadError), ("body", httpx.RemoteProtocolError)])
async def test_the_connection_is_cut(sandbox: Sandbox, where: str, error: type[Exception]) -> None:
    await sandbox.fault("cut", where=where)
    with pytest.raises((error, httpx.RemoteProtocolError)):
        await sandbox.call("GET", CONTACT)
    assert (await sandbox.call("GET", CONTACT)).status_code == 200


async def test_a_write_whose_answer_is_cut_has_happened(sandbox: Sandbox) -> None:
    await sandbox.fault("cut", match={"method": "DELETE"})
    with pytest.raises(httpx.RemoteProtocolError):
        await sandbox.call("DELETE", CONTACT)
    assert (await sandbox.call("GET", CONTACT)).status_code == 400


async def test_a_hanging_request_ends_with_the_clients_patience_or_the_fault(sandbox: Sandbox) -> None:
    await sandbox.fault("hang", times=2)
    with pytest.raises(httpx.ReadTimeout):
        await sandbox.call("GET", CONTACT, timeout=0.1)
    waiting = asyncio.create_task(sandbox.call("GET", CONTACT))
    await until(lambda: [fault.hits for fault in sandbox.world.faults] == [2])
    assert not waiting.done()
    await sandbox.control("DELETE", "faults")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await waiting


async def test_garbage_is_no_json(sandbox: Sandbox) -> None:
    await sandbox.fault("garbage")
    answer = await sandbox.call("GET", CONTACT)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()


async def test_a_cursor_repeats(sandbox: Sandbox) -> None:
    first = (await sandbox.search(pageLimit=5))["contacts"]
    cursor = first[-1]["searchAfter"]
    await sandbox.fault("repeat_cursor", match=SEARCH)
    second = (await sandbox.search(pageLimit=5, searchAfter=cursor))["contacts"]
    assert second[-1]["searchAfter"] == cursor
    assert (await sandbox.search(pageLimit=5, searchAfter=cursor))["contacts"][-1]["searchAfter"] != cursor


async def test_a_strangers_row_slips_in(sandbox: Sandbox) -> None:
    await sandbox.fault("wrong_tenant", match=SEARCH)
    rows = (await sandbox.search(pageLimit=10))["contacts"]
    assert {row["locationId"] for row in rows} == {seed.LARGE.id, seed.NORTHWIND_FIRST.id}
    assert {row["locationId"] for row in (await sandbox.search(pageLimit=10))["contacts"]} == {seed.LARGE.id}


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"fault": {"kind": "fire"}},
        {"fault": {"kind": "status"}},
        {"fault": {"kind": "revoked"}},
        {"match": {"color": "red"}, "fault": {"kind": "hang"}},
    ],
)
async def test_a_senseless_order_is_refused(sandbox: Sandbox, order: dict[str, Any]) -> None:
    answer = await sandbox.http.post("/__control__/faults", json=order)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert await sandbox.control("GET", "faults") == []


async def test_a_cut_without_a_server_is_an_error() -> None:
    app = build(Options())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox") as http:
        await http.post("/__control__/faults", json={"fault": {"kind": "cut", "where": "before"}})
        with pytest.raises(ConnectionResetError):
            await http.get(CONTACT)
