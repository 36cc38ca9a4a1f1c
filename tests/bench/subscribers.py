"""Cheap subscribers, so that many fit into one process beside what is measured. They understand just what our servers send."""

import asyncio
import json
import struct
import time
from typing import Any, Final

from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

DOCUMENT: Final = """subscription Job($id: ID!) { jobUpdated(id: $id) { version kind event { state done total message }
  job { id kind title state priority attempt createdAt startedAt progress { done total percent rate etaAt } } } }"""
_CHANGED: Final = b'"kind":"CHANGED"'
_MESSAGE: Final = b'"message":"'
_AT_ONCE: Final = 50
_PING: Final = 9
_PONG: Final = 10


class Crowd:
    """The subscribers of one job at one server, and when each of them got what."""

    def __init__(self, url: str, token: str, job: str, *, streaming: bool = False, document: str = DOCUMENT) -> None:
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)
        self.token = token
        self.payload = {"query": document, "operationName": "Job", "variables": {"id": job} if job else {}}
        self.latencies: list[float] = []
        self._kind = Streamed if streaming else Socket
        self._expected = 0
        self._complete = asyncio.Event()
        self._transports: list[asyncio.BaseTransport] = []

    async def gather(self, size: int) -> None:
        """Subscribe `size` times; returns when each has its snapshot."""
        loop = asyncio.get_running_loop()
        for begin in range(0, size, _AT_ONCE):
            made = [
                await loop.create_connection(lambda: self._kind(self), self.host, self.port)
                for _ in range(begin, min(size, begin + _AT_ONCE))
            ]
            self._transports += [transport for transport, _ in made]
            async with asyncio.timeout(60):
                await asyncio.gather(*(subscriber.subscribed for _, subscriber in made))

    def expect(self, number: int) -> None:
        """Forget what came, and wait for `number` events."""
        self.latencies.clear()
        self._expected = number
        self._complete.clear()

    async def all(self) -> list[float]:
        """Wait until all that is expected has come; seconds from publishing to receiving."""
        async with asyncio.timeout(60):
            await self._complete.wait()
        return list(self.latencies)

    def leave(self) -> None:
        """Cut all connections."""
        for transport in self._transports:
            transport.close()

    def received(self, answer: bytes) -> bool:
        """Take note of an answer; False for a snapshot."""
        if _CHANGED not in answer:
            return False
        at = answer.index(_MESSAGE) + len(_MESSAGE)
        self.latencies.append(time.monotonic() - float(answer[at : answer.index(b'"', at)]))
        if len(self.latencies) == self._expected:
            self._complete.set()
        return True


class _Subscriber(asyncio.Protocol):
    def __init__(self, crowd: Crowd) -> None:
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._buffer = b""
        self._open = False

    def connection_made(self, transport: Any) -> None:
        """Ask."""
        self._transport = transport
        transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        """Skip the head of the answer, then take whole messages."""
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head and b" 200 " not in head:
                raise RuntimeError(head)
            self._open, self._buffer = True, rest
            self._opened()
        while (message := self._next()) is not None:
            if not self._crowd.received(message):
                self._answered(message)

    def _head(self, first: str, **headers: str) -> bytes:
        lines = {"Host": f"{self._crowd.host}:{self._crowd.port}", "Authorization": f"Bearer {self._crowd.token}", **headers}
        return "\r\n".join([first, *(f"{name.replace('_', '-')}: {value}" for name, value in lines.items()), "", ""]).encode()

    def _arrived(self) -> None:
        if not self.subscribed.done():
            self.subscribed.set_result(None)

    def _request(self) -> bytes:
        raise NotImplementedError

    def _opened(self) -> None:
        """Nothing more to say."""

    def _next(self) -> bytes | None:
        raise NotImplementedError

    def _answered(self, message: bytes) -> None:
        raise NotImplementedError


class Socket(_Subscriber):
    """Over graphql-transport-ws."""

    def _request(self) -> bytes:
        return self._head(
            "GET /graphql HTTP/1.1",
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==",
            Sec_WebSocket_Protocol=GRAPHQL_TRANSPORT_WS_PROTOCOL,
        )

    def _opened(self) -> None:
        self._send({"type": "connection_init"})

    def _next(self) -> bytes | None:
        while True:
            buffer = self._buffer
            if len(buffer) < 4:
                return None
            length, start = (buffer[1], 2) if buffer[1] < 126 else (struct.unpack_from(">H", buffer, 2)[0], 4)
            if len(buffer) < start + length:
                return None
            self._buffer = buffer[start + length :]
            if buffer[0] & 15 != _PING:
                return buffer[start : start + length]
            self._transport.write(bytes([0x80 | _PONG, 0x80 | length]) + b"\0\0\0\0" + buffer[start : start + length])

    def _answered(self, message: bytes) -> None:
        if b"connection_ack" in message:
            self._send({"id": "1", "type": "subscribe", "payload": self._crowd.payload})
        elif b'"next"' in message and b'"errors"' not in message:
            self._arrived()
        else:
            raise RuntimeError(message)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + struct.pack(">H", len(body))
        self._transport.write(b"\x81" + size + b"\0\0\0\0" + body)


class Streamed(_Subscriber):
    """As server-sent events."""

    def _request(self) -> bytes:
        body = json.dumps(self._crowd.payload).encode()
        head = self._head(
            "POST /graphql HTTP/1.1",
            Accept="text/event-stream",
            Content_Type="application/json",
            Content_Length=str(len(body)),
        )
        return head + body

    def _next(self) -> bytes | None:
        message, found, rest = self._buffer.partition(b"\n\n")
        if not found:
            return None
        self._buffer = rest
        return message

    def _answered(self, message: bytes) -> None:
        if b'"jobUpdated"' in message:
            self._arrived()
