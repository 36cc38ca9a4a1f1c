"""One trace leads from a client's mutation to the job and on to the vendor, as a collector gets it over HTTP."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs

from domain import tracing
from tests.factories.crm import SYNC, connect, location_of
from tests.factories.engine import Engine, Scripted, failing
from tests.factories.house import House

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@dataclass
class Collector:
    """An OTLP/HTTP receiver on this machine."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    def named(self, start: str) -> list[Any]:
        """Spans of the test's trace, by how their names begin."""
        return [span for span in self.spans if span.name.startswith(start) and span.trace_id.hex() == TRACE]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.add(self.path)
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found.spans += scope.spans
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def traced(collector: Collector) -> AsyncIterator[None]:
    tracing.configure(collector.url, process="test")
    yield
    await asyncio.to_thread(tracing.close)


def ancestors(span: Any, spans: list[Any]) -> list[str]:
    """The names above a span, nearest first."""
    by_id = {each.span_id: each for each in spans}
    names = []
    while (span := by_id.get(span.parent_span_id)) is not None:
        names.append(span.name)
    return names


@pytest.mark.usefixtures("traced")
async def test_mutation_job_and_vendor_call_are_one_trace(house: House, collector: Collector) -> None:
    _, user = await house.account()
    owner = await house.client_of(user)
    account = await connect(owner, house)
    location = location_of(account, account["locations"]["nodes"][0]["externalId"])
    async with house.workers():
        headers = {**owner.headers, "traceparent": PARENT}
        body = {"query": SYNC, "variables": {"input": {"locationId": location}}}
        answer = await house.http.post("/graphql", json=body, headers=headers)
        job = answer.json()["data"]["startContactSync"]["job"]
        await owner.until(job["id"])
    await asyncio.to_thread(tracing.close)
    assert collector.paths == {"/v1/traces"}
    (request,) = collector.named("POST /graphql")
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    (attempt,) = collector.named("job crm.contacts.sync")
    assert ancestors(attempt, collector.spans) == ["mutation startContactSync", "POST /graphql"]
    calls = collector.named("GoHighLevel")
    assert calls
    assert {ancestors(call, collector.spans)[0] for call in calls} == {"job crm.contacts.sync"}
    said = {value.key: value.value.string_value or value.value.int_value for value in attempt.attributes}
    assert said["job.kind"] == "crm.contacts.sync"
    assert said["job.outcome"] in {"succeeded", "partial"}
    assert "http.response.status_code" in {value.key for value in calls[0].attributes}
    secrets = [house.settings.ghl_client_secret.get_secret_value(), owner.token or "?", "Bearer"]
    assert not [secret for secret in secrets if any(secret in str(span) for span in collector.spans)]


@pytest.mark.usefixtures("traced")
async def test_vendors_are_not_told_of_the_trace(house: House) -> None:
    _, user = await house.account()
    owner = await house.client_of(user)
    with tracing.span("test", parent=PARENT):
        await connect(owner, house)
    requests = await house.control("GET", "/requests")
    assert requests
    assert "traceparent" not in str(requests).lower()


@pytest.mark.usefixtures("traced")
async def test_a_failed_attempt_is_marked_and_says_no_more_than_a_code(engine: Engine, collector: Collector) -> None:
    with tracing.span("test", parent=PARENT):
        job = await engine.enqueue(await engine.account(), failing(RuntimeError("hunter2")))
    await engine.attempt(job)
    await asyncio.to_thread(tracing.close)
    (span,) = collector.named("job test.scripted")
    assert (span.status.code, span.status.message) == (2, "API-100")
    assert "hunter2" not in str(collector.spans)


async def test_without_a_collector_the_caller_s_trace_still_reaches_the_job_and_the_logs(engine: Engine) -> None:
    with tracing.span("test", parent=PARENT):
        job = await engine.enqueue(await engine.account(), Scripted("nothing"))
    assert job.traceparent == PARENT
    assert tracing.traceparent() is None
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await engine.attempt(job)
    assert {line["trace_id"] for line in lines if line["event"].startswith("job.")} == {TRACE}
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        "x" * 9999,
    ],
)
async def test_a_header_that_is_no_traceparent_is_ignored(engine: Engine, header: str) -> None:
    with tracing.span("test", parent=header):
        assert tracing.traceparent() is None


def test_without_a_collector_a_span_costs_next_to_nothing() -> None:
    started = perf_counter()
    for _ in range(10_000):
        with tracing.span("nothing") as span:
            span.set({"a": 1})
    assert (perf_counter() - started) / 10_000 < 20e-6  # about half a microsecond; a slow machine may take a while


def test_a_collector_that_is_away_does_not_hold_up_the_end(unused_tcp_port: int) -> None:
    tracing.configure(f"http://127.0.0.1:{unused_tcp_port}", process="test")
    for _ in range(2_000):
        with tracing.span("lost"):
            pass
    started = perf_counter()
    tracing.close()
    assert perf_counter() - started < 5
