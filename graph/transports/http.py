"""GraphQL over HTTP: queries by GET and POST, mutations by POST, subscriptions as a stream."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import parse_qsl

import orjson
from graphql import OperationType
from starlette.requests import Request as HTTPRequest
from starlette.types import Receive, Scope, Send

from graph import errors
from graph.errors import Refused, refuse
from graph.execution import Context, Operation, Request
from graph.transports import multipart, negotiation, parameters, sse
from graph.transports.door import Door
from graph.transports.negotiation import Range
from graph.transports.streaming import one, stream

FRAMINGS: Final = {negotiation.EVENTS: sse.EVENTS, negotiation.MULTIPART: multipart.MULTIPART}
METHODS: Final = b"GET, POST"
COST_HEADER: Final = "x-graphql-cost"


async def serve(door: Door, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request, whatever it is, in the terms of GraphQL."""
    http = HTTPRequest(scope, receive)
    accepted = negotiation.parse_accept(", ".join(http.headers.getlist("accept")) or None)
    context: Context | None = None
    try:
        media = _media(accepted)
        request = await _request(door, http)
        context = await door.make_context(http, None)
        await _Exchange(door, http, send, context, media, accepted).answer(request)
    except Exception as error:  # noqa: BLE001 - what is raised here is the last word on this request
        request_id = context.request_id if context else scope.get("state", {}).get("request_id", "-")
        await _refuse(send, errors.refusal_of(error, request_id=request_id), negotiation.for_answer(accepted))
    finally:
        if context is not None:
            await context.close()


class _Exchange:
    """One well-formed request and its answer."""

    def __init__(self, door: Door, http: HTTPRequest, send: Send, context: Context, media: str, accepted: list[Range]) -> None:
        self._door = door
        self._http = http
        self._send = send
        self._context = context
        self._media = media
        self._accepted = accepted

    async def answer(self, request: Request) -> None:
        """Run the request and send what it gives. Raises Refused before anything is sent."""
        executor = self._door.executor
        try:
            operation = await executor.prepare(request, self._context)
        except Refused as refused:
            await self._refused(refused)
            return
        if operation.type is OperationType.SUBSCRIPTION:
            await self._subscribe(operation)
            return
        if operation.type is OperationType.MUTATION and self._http.method != "POST":
            raise refuse(errors.METHOD, "A mutation needs POST.", status=405)
        answer = await executor.run(operation, self._context)
        if self._media in FRAMINGS:
            await self._stream(one(answer))
        else:
            await _send_json(self._send, answer, media=self._media)

    async def _subscribe(self, operation: Operation) -> None:
        media = negotiation.for_stream(self._accepted)
        if media is None:
            message = "A subscription needs a WebSocket, or Accept: text/event-stream or multipart/mixed."
            raise refuse(errors.NEEDS_STREAM, message, status=406)
        self._media = media
        await self._stream(self._door.live.stream(operation, self._context))

    async def _refused(self, refused: Refused) -> None:
        # What is wrong with the document is an answer to a stream's client, which cannot read the body of another status;
        # and to a client that knows application/json only, for which any other status is not GraphQL's.
        if refused.status == 400 and self._media in FRAMINGS:  # noqa: PLR2004
            await self._stream(one(orjson.dumps({"errors": refused.errors})))
        else:
            await _refuse(self._send, refused, self._media, is_answer=True)

    async def _stream(self, answers: AsyncGenerator[bytes, None]) -> None:
        await stream(
            self._door,
            self._http.receive,
            self._send,
            framing=FRAMINGS[self._media],
            answers=answers,
            context=self._context,
        )


def _media(accepted: list[Range]) -> str:
    media = negotiation.for_answer(accepted)
    if media is None:
        raise refuse(errors.MEDIA_TYPE, "We answer in JSON, server-sent events or multipart.", status=406)
    return media


async def _request(door: Door, http: HTTPRequest) -> Request:
    wants_cost = http.headers.get(COST_HEADER) == "1"
    if http.method == "GET":
        _check_site(door, http)
        try:
            pairs = parse_qsl(http.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise refuse(errors.BAD_REQUEST, "The query string is not valid.") from None
        return parameters.from_query(pairs, wants_cost=wants_cost)
    if http.method != "POST":
        raise refuse(errors.METHOD, "GraphQL is asked by GET or POST.", status=405)
    negotiation.check_body(http.headers.getlist("content-type"), http.headers.getlist("content-encoding"))
    return parameters.from_json(parameters.parse_json(await _body(door, http)), wants_cost=wants_cost)


def _check_site(door: Door, http: HTTPRequest) -> None:
    # A page of another site can make a browser send a GET without asking us first. Browsers say so in this header.
    if http.headers.get("sec-fetch-site") == "cross-site" and http.headers.get("origin") not in door.allowed_origins:
        raise refuse(errors.CROSS_SITE, "This origin may not send requests.", status=403)


async def _body(door: Door, http: HTTPRequest) -> bytes:
    too_large = refuse(errors.TOO_LARGE, f"The body is too large; {door.max_body} bytes is the most.", status=413)
    length = http.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > door.max_body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(door.body_timeout):
            async for chunk in http.stream():
                body += chunk
                if len(body) > door.max_body:
                    raise too_large
    except TimeoutError:
        raise refuse(errors.TIMEOUT, "The body did not arrive in time.", status=408) from None
    return bytes(body)


async def _refuse(send: Send, refused: Refused, media: str | None, *, is_answer: bool = False) -> None:
    status = 200 if is_answer and refused.status == 400 and media == negotiation.JSON else refused.status  # noqa: PLR2004
    headers = []
    if status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b"Bearer"))
    elif status == 405:  # noqa: PLR2004
        headers.append((b"allow", METHODS))
    elif status in {408, 413}:  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(refused.retry_after))).encode()))
    media = media if media == negotiation.RESPONSE else negotiation.JSON
    await _send_json(send, orjson.dumps({"errors": refused.errors}), media=media, status=status, headers=headers)


async def _send_json(
    send: Send, body: bytes, *, media: str, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    fixed = [
        (b"content-type", media.encode() + b"; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": body})
