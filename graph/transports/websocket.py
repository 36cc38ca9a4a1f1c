"""graphql-transport-ws. The older protocol `graphql-ws` is not spoken: clients that know both would choose it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
from graphql import OperationType
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from domain.errors import DomainError
from graph import errors
from graph.errors import Refused, refuse
from graph.execution import Context, Request
from graph.transports import parameters
from graph.transports.door import Door, seconds_left

log = structlog.get_logger(__name__)

PROTOCOL: Final = "graphql-transport-ws"
MAX_ID: Final = 256

TOO_BIG: Final = 1009
BAD_MESSAGE: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
BAD_PROTOCOL: Final = 4406
INIT_TIMEOUT: Final = 4408
DUPLICATE: Final = 4409
TOO_MANY: Final = 4429
FAULT: Final = 4500


class Closing(Exception):
    """The socket is to be closed with this code, for this reason (at most 123 bytes)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Bucket:
    """Lets `burst` messages through at once and `rate` a second from then on."""

    def __init__(self, burst: float, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._tokens = burst
        self._seen = clock()

    def take(self) -> bool:
        """Whether one more may pass."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._rate)
        self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Socket:
    """One connection."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        self._door = door
        self._connection = HTTPConnection(scope)
        self._subprotocols: list[str] = scope["subprotocols"]
        self._receive = receive
        self._asgi_send = send
        self._bucket = Bucket(door.socket_burst, door.socket_rate)
        self._parameters: dict[str, Any] | None = None
        self._acknowledged = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Talk until one side has enough."""
        await self._receive()  # websocket.connect
        if PROTOCOL not in self._subprotocols:
            await self._send({"type": "websocket.accept"})
            await self._close(Closing(BAD_PROTOCOL, f"Only {PROTOCOL} is spoken."))
            return
        await self._send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        closing = None
        try:
            await self._talk()
        except Closing as reason:
            closing = reason
        finally:
            if self._watch is not None:
                self._watch.cancel()
            await self._end_operations()
        if closing is not None:
            await self._close(closing)

    async def _talk(self) -> None:
        try:
            async with asyncio.timeout(self._door.init_timeout) as deadline:
                while (received := await self._receive())["type"] != "websocket.disconnect":
                    if not self._bucket.take():
                        raise Closing(TOO_MANY, "Too many messages.")
                    await self._handle(_message(received, self._door.max_body), deadline)
        except TimeoutError:
            if not deadline.expired():
                raise
            if self._acknowledged:
                raise Closing(UNAUTHORIZED, "The credential has expired or was revoked.") from None
            raise Closing(INIT_TIMEOUT, "Connection initialisation timeout.") from None

    async def _handle(self, message: dict[str, Any], deadline: asyncio.Timeout) -> None:
        match message.get("type"):
            case "connection_init":
                await self._initialise(_payload(message), deadline)
            case "ping":
                _payload(message)
                await self._text('{"type":"pong"}')
            case "pong":
                _payload(message)
            case "subscribe":
                await self._subscribe(_id(message), _payload(message))
            case "complete":
                task = self._operations.pop(_id(message), None)
                if task is not None:
                    task.cancel()
            case _:
                raise Closing(BAD_MESSAGE, "The message has no known type.")

    async def _initialise(self, payload: dict[str, Any] | None, deadline: asyncio.Timeout) -> None:
        if self._acknowledged:
            raise Closing(TOO_MANY, "Too many initialisation requests.")
        self._parameters = payload or {}
        try:
            context = await self._door.make_context(self._connection, self._parameters)
        except DomainError as error:
            raise Closing(FORBIDDEN, error.message[:100]) from error
        except Exception as error:
            log.exception("graphql.socket_failed")
            raise Closing(FAULT, "Internal server error.") from error
        seconds = seconds_left(context)
        await context.close()
        loop = asyncio.get_running_loop()
        deadline.reschedule(None if seconds is None else loop.time() + seconds)
        self._watch = asyncio.create_task(context.revoked())
        self._watch.add_done_callback(lambda watch: None if watch.cancelled() else deadline.reschedule(loop.time()))
        self._acknowledged = True
        await self._text('{"type":"connection_ack"}')

    async def _subscribe(self, key: str, payload: dict[str, Any] | None) -> None:
        if not self._acknowledged:
            raise Closing(UNAUTHORIZED, "Unauthorized.")
        if key in self._operations:
            raise Closing(DUPLICATE, "A subscriber of this id exists already.")
        try:
            request = parameters.from_json(payload)
        except Refused as refused:
            raise Closing(BAD_MESSAGE, str(refused)) from refused
        if len(self._operations) >= self._door.socket_operations:
            message = f"At most {self._door.socket_operations} operations run on one socket."
            await self._error(key, refuse(errors.TOO_MANY, message))
            return
        self._operations[key] = asyncio.create_task(self._operate(key, request))

    async def _operate(self, key: str, request: Request) -> None:
        context: Context | None = None
        refused: Refused | None = None
        try:
            context = await self._door.make_context(self._connection, self._parameters)
            await self._answer(key, request, context)
        except Exception as error:  # noqa: BLE001 - one operation's failure is its own; the socket stays
            refused = errors.refusal_of(error, request_id=context.request_id if context else uuid4().hex)
        finally:
            if context is not None:
                await context.close()
        # Its id is free before the client learns of the end, for it may use the id at once.
        if self._operations.get(key) is asyncio.current_task():
            del self._operations[key]
        if refused is not None:
            await self._error(key, refused)
        else:
            await self._text('{"id":' + _quoted(key) + ',"type":"complete"}')

    async def _answer(self, key: str, request: Request, context: Context) -> None:
        opening = '{"id":' + _quoted(key) + ',"type":"next","payload":'
        executor = self._door.executor
        operation = await executor.prepare(request, context)
        if operation.type is not OperationType.SUBSCRIPTION:
            await self._text(opening + (await executor.run(operation, context)).decode() + "}")
            return
        async with aclosing(self._door.live.stream(operation, context)) as answers:
            async for answer in answers:
                await self._text(opening + answer.decode() + "}")

    async def _error(self, key: str, refused: Refused) -> None:
        await self._text('{"id":' + _quoted(key) + ',"type":"error","payload":' + orjson.dumps(refused.errors).decode() + "}")

    async def _text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _send(self, message: dict[str, Any]) -> None:
        # Operations send side by side: uvicorn waits until it may write, and then writes the message in one step. A lock here
        # and contextlib.suppress would cost a tenth of what it takes to deliver an event.
        try:  # noqa: SIM105
            await self._asgi_send(message)
        except OSError:  # the client has gone; `receive` says so too
            pass

    async def _close(self, closing: Closing) -> None:
        await self._send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})

    async def _end_operations(self) -> None:
        tasks = tuple(self._operations.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _message(received: Any, max_size: int) -> dict[str, Any]:
    text = received.get("text")
    if not isinstance(text, str):
        raise Closing(BAD_MESSAGE, "Messages are text.")
    if len(text) > max_size:
        raise Closing(TOO_BIG, "The message is too large.")
    try:
        message = parameters.parse_json(text)
    except Refused as refused:
        raise Closing(BAD_MESSAGE, str(refused)) from refused
    if not isinstance(message, dict):
        raise Closing(BAD_MESSAGE, "A message is a JSON object.")
    return message


def _id(message: dict[str, Any]) -> str:
    key = message.get("id")
    if not isinstance(key, str) or not 0 < len(key) <= MAX_ID:
        raise Closing(BAD_MESSAGE, "The message has no usable id.")
    return key


def _payload(message: dict[str, Any]) -> dict[str, Any] | None:
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise Closing(BAD_MESSAGE, "The payload is not an object.")
    return payload


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
