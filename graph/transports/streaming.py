"""An answer that goes on: what server-sent events and multipart have in common."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.types import Receive, Send

from graph.errors import error_of, masked
from graph.execution import Context
from graph.transports.door import Door, seconds_left

EXPIRED: Final = error_of("API-005", "The credential has expired or was revoked; get a new one and subscribe again.")


@dataclass(frozen=True, slots=True)
class Framing:
    """How a protocol writes. `answer` frames an encoded answer, `failure` encoded errors that are not any answer's."""

    content_type: bytes
    opening: bytes
    answer: Callable[[bytes], bytes]
    failure: Callable[[bytes], bytes]
    heartbeat: bytes
    ending: bytes


async def stream(
    door: Door, receive: Receive, send: Send, *, framing: Framing, answers: AsyncGenerator[bytes, None], context: Context
) -> None:
    """Send answers until they end, the client leaves, or the context's credential has expired or was revoked.

    When the server is draining, the stream breaks off without its ending, so that the client comes back and resumes.
    """
    headers = [(b"content-type", framing.content_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _write(send, framing.opening)
    pump = asyncio.create_task(_pump(send, framing, answers))
    others = [
        asyncio.create_task(_beat(send, framing, door.heartbeat)),
        asyncio.create_task(_disconnected(receive)),
        asyncio.create_task(door.draining.wait()),
        revoked := asyncio.create_task(context.revoked()),
    ]
    try:
        done, _ = await asyncio.wait([pump, *others], timeout=seconds_left(context), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (pump, *others):
            task.cancel()
        await asyncio.gather(pump, *others, return_exceptions=True)
    failure = EXPIRED if not done or revoked in done else None
    if pump in done and (error := pump.exception()) is not None:
        failure = masked(error, request_id=context.request_id)
    body = framing.failure(orjson.dumps([failure])) if failure else b""
    if failure or pump in done:
        body += framing.ending
    await _write(send, body, more=False)


async def one(answer: bytes) -> AsyncGenerator[bytes, None]:
    """A stream of a single answer."""
    yield answer


async def _pump(send: Send, framing: Framing, answers: AsyncGenerator[bytes, None]) -> None:
    async with aclosing(answers) as stream_of_answers:
        async for answer in stream_of_answers:
            await _write(send, framing.answer(answer))


async def _beat(send: Send, framing: Framing, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await _write(send, framing.heartbeat)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, body: bytes, *, more: bool = True) -> None:
    with suppress(OSError):  # the client has gone; `_disconnected` says so too
        await send({"type": "http.response.body", "body": body, "more_body": more})
