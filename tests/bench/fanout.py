"""One event to many subscribers: our door against strawberry's own, over the same schema and feed, in the same run.

    python -m tests.bench.fanout [--subscribers 1000] [--events 20] [--rounds 3]

Each round starts a fresh server process for each of the two, connects the subscribers over graphql-transport-ws, publishes
events one by one and waits until every subscriber has each. Reported are medians over the rounds: CPU of the server process
for each event delivered, and the time from publishing to receiving.
"""

import argparse
import asyncio
import json
import resource
import statistics
import struct
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

import psutil
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from graph.execution import Executor
from graph.transports.endpoint import GraphQLEndpoint
from tests.graph.toy import Event, TopicFeed, ToyContext, World

DOCUMENT: Final = """subscription Job($id: ID!) {
  jobUpdated(id: $id) { id type status priority title progress { done total percent } updatedAt publishedAt }
}"""


@strawberry.type
class Progress:
    """How far."""

    done: int
    total: int
    percent: float


@strawberry.type
class JobEvent:
    """A job as a subscriber sees it."""

    id: strawberry.ID
    type: str
    status: str
    priority: int
    title: str
    progress: Progress
    updated_at: str
    published_at: float


@strawberry.type
class Query:
    """Required of a schema."""

    ok: bool = True


@strawberry.type
class Subscription:
    """The subscription measured."""

    @strawberry.subscription
    async def job_updated(self, info: strawberry.Info, id: strawberry.ID) -> AsyncGenerator[JobEvent, None]:  # noqa: A002
        feed = TopicFeed(info.context.world.topic(id))
        async for event in info.context.follow(feed):
            progress = Progress(done=event.position, total=5_000, percent=event.position / 50)
            yield JobEvent(
                id=id,
                type="crm.contacts.sync",
                status="RUNNING",
                priority=5,
                title="Sync of the contacts of Acme Dental",
                progress=progress,
                updated_at="2026-11-23T08:00:00Z",
                published_at=float(event.text),
            )


schema = strawberry.Schema(query=Query, subscription=Subscription)


class Alone:
    """How a subscription runs without sharing: each listens and reads for itself."""

    async def follow(self, feed: TopicFeed, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        async with feed.listen() as hints:
            position, events = await feed.start(after)
            for event in events:
                yield event
            async for _ in hints:
                position, events = await feed.since(position)
                for event in events:
                    yield event


class OwnView(GraphQL[Any, Any]):
    """Strawberry's own ASGI view."""

    def __init__(self, world: World) -> None:
        super().__init__(schema, subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL])
        self._world = world

    async def get_context(self, request: Any, response: Any) -> Any:  # noqa: ARG002 - strawberry's signature
        context = ToyContext(self._world)
        context.live = Alone()
        return context


async def serve(kind: str) -> None:
    """Serve one of the two until standard input ends."""
    world = World()

    async def make_context(_connection: HTTPConnection, _parameters: dict[str, Any] | None) -> ToyContext:
        return ToyContext(world)

    async def publish(request: Request) -> Response:
        world.topic("1").publish((await request.body()).decode())
        return Response()

    async def watchers(_request: Request) -> Response:
        return Response(str(max(len(world.topic("1").listeners), world.opened)))

    endpoint: Any = GraphQLEndpoint(Executor(schema), make_context) if kind == "ours" else OwnView(world)
    routes = [
        Route("/publish", publish, methods=["POST"]),
        Route("/watchers", watchers),
        WebSocketRoute("/graphql", endpoint),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes),
        port=0,
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="error",
        access_log=False,
        backlog=4096,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = server.force_exit = True
    await task


class Subscriber(asyncio.Protocol):
    """A cheap graphql-transport-ws client: it understands just what these servers send it."""

    def __init__(self, port: int, latencies: list[float]) -> None:
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._port = port
        self._latencies = latencies
        self._buffer = b""
        self._open = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        lines = (
            "GET /graphql HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            f"Sec-WebSocket-Protocol: {GRAPHQL_TRANSPORT_WS_PROTOCOL}",
        )
        transport.write("\r\n".join((*lines, "", "")).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head, head
            self._open, self._buffer = True, rest
            self._send({"type": "connection_init"})
        while len(self._buffer) >= 2:
            length, start = self._buffer[1], 2
            if length == 126:
                if len(self._buffer) < 4:
                    return
                length, start = struct.unpack_from(">H", self._buffer, 2)[0], 4
            if len(self._buffer) < start + length:
                return
            frame, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
            self._received(frame)

    def _received(self, frame: bytes) -> None:
        at = frame.find(b"publishedAt")
        if at >= 0:
            number = frame[at + 13 :].lstrip().partition(b"}")[0]
            self._latencies.append(time.monotonic() - float(number))
        elif b"connection_ack" in frame:
            payload = {"query": DOCUMENT, "operationName": "Job", "variables": {"id": "1"}}
            self._send({"id": "1", "type": "subscribe", "payload": payload})
            self.subscribed.set_result(None)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + struct.pack(">H", len(body))
        self._transport.write(b"\x81" + size + b"\0\0\0\0" + body)


async def request(port: int, method: str, path: str, body: bytes = b"") -> bytes:
    """One plain HTTP request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


async def measure(kind: str, *, subscribers: int, events: int) -> dict[str, float]:
    """One round with one of the two."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.fanout",
        "--serve",
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    transports = []
    try:
        port = int(await process.stdout.readline())
        server = psutil.Process(process.pid)
        memory = server.memory_info().rss
        latencies: list[float] = []
        for _ in range(subscribers):
            transport, protocol = await asyncio.get_running_loop().create_connection(
                lambda: Subscriber(port, latencies), "127.0.0.1", port
            )
            transports.append(transport)
            await protocol.subscribed
        await asyncio.sleep(1.5)  # the last ones still run their first read
        memory = server.memory_info().rss - memory
        before = server.cpu_times()
        for number in range(events):
            await request(port, "POST", "/publish", repr(time.monotonic()).encode())
            while len(latencies) < subscribers * (number + 1):  # noqa: ASYNC110 - an event for each would cost more
                await asyncio.sleep(0.005)
        after = server.cpu_times()
        cpu = after.user + after.system - before.user - before.system
        quantiles = statistics.quantiles(latencies, n=100)
        return {
            "cpu_us": cpu / len(latencies) * 1e6,
            "p50_ms": quantiles[49] * 1e3,
            "p99_ms": quantiles[98] * 1e3,
            "kb": memory / subscribers / 1024,
        }
    finally:
        for transport in transports:
            transport.abort()
        process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)


async def compare(*, subscribers: int, events: int, rounds: int) -> None:
    """Interleave the two, and print medians and the ratio."""
    results: dict[str, list[dict[str, float]]] = {"ours": [], "strawberry": []}
    for _ in range(rounds):
        for kind, rows in results.items():
            rows.append(await measure(kind, subscribers=subscribers, events=events))
    for kind, rows in results.items():
        row = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        print(  # noqa: T201
            f"{kind:>11}: {row['cpu_us']:6.1f} us CPU a delivered event, "
            f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms, {row['kb']:.0f} KB a subscriber"
        )
    ratios = [theirs["cpu_us"] / ours["cpu_us"] for ours, theirs in zip(results["ours"], results["strawberry"], strict=True)]
    print(f"      ratio: {statistics.median(ratios):.1f} [{min(ratios):.1f}..{max(ratios):.1f}]")  # noqa: T201


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=("ours", "strawberry"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    if options.serve:
        asyncio.run(serve(options.serve))
    else:
        asyncio.run(compare(subscribers=options.subscribers, events=options.events, rounds=options.rounds))


if __name__ == "__main__":
    main()
