"""Acts out ordered faults which are not in an answer's content: refusals, garbage, hanging, cut connections."""

import asyncio
from collections.abc import Iterable, Mapping

from starlette.types import Receive, Send

from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, ok, refused
from domain.vendors.sandbox.gohighlevel.faults import Fault

POLL_SECONDS = 0.05
MESSAGES = {401: "Invalid JWT", 403: "The token does not have access to this location.", 429: "Too many requests"}
UNAVAILABLE = "<html><head><title>{0} Service Unavailable</title></head><body>{0}</body></html>"
SERVER_ERROR = 500


def ordered_answer(quirks: Mapping[str, Json]) -> Answer | None:
    """The answer that a `status` or `garbage` fault asks for; None where there is no such fault."""
    if "garbage" in quirks:
        body = quirks["garbage"].get("body", '<!doctype html><p>"not JSON"')
        return Answer(200, body.encode())
    if "status" not in quirks:
        return None
    how = quirks["status"]
    status, headers = how["status"], {name.lower(): str(value) for name, value in how.get("headers", {}).items()}
    if status == 429:  # noqa: PLR2004 - the status itself
        headers = {"x-ratelimit-remaining": "0", **headers}
    if "body" in how:
        content = how["body"]
        answer = Answer(status, content.encode(), "text/plain") if isinstance(content, str) else ok(content, status=status)
    elif status >= SERVER_ERROR:
        # Gateways answer these, not the API: HTML.
        answer = Answer(status, UNAVAILABLE.format(status).encode(), "text/html")
    else:
        answer = refused(status, how.get("message") or MESSAGES.get(status, "Bad Request")).answer
    return Answer(status, answer.body, answer.media_type, headers)


async def stop(faults: Iterable[Fault], receive: Receive, *, ordered: Iterable[Fault]) -> bool:
    """Act out the faults that come before an answer; whether there is to be none.

    A hanging request ends when the client gives up or when its fault is no longer among those `ordered`.
    """
    for fault in faults:
        if fault.kind == "latency":
            await asyncio.sleep(float(fault.how.get("ms", 0)) / 1000)
        elif fault.kind == "hang":
            await _hang(receive, fault, ordered)
            await _drop(receive)
            return True
        elif fault.kind == "cut" and fault.how.get("where") == "before":
            await _drop(receive)
            return True
    return False


async def _hang(receive: Receive, fault: Fault, ordered: Iterable[Fault]) -> None:
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        while fault in list(ordered) and not gone.done():
            await asyncio.wait({gone}, timeout=POLL_SECONDS)
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)


async def cut(receive: Receive, send: Send, *, answer: Answer) -> None:
    """Close the connection in the middle of the body of `answer`."""
    await send({"type": "http.response.start", "status": answer.status, "headers": _raw_headers(answer)})
    await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
    await _drop(receive)


async def send_whole(send: Send, answer: Answer) -> None:
    """Send the answer as it should be."""
    await send({"type": "http.response.start", "status": answer.status, "headers": _raw_headers(answer)})
    await send({"type": "http.response.body", "body": answer.body})


async def _drop(receive: Receive) -> None:
    # ASGI has no way to drop a connection; uvicorn's `receive` is a method of the object that holds the transport.
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the sandbox cut the connection")
    transport.close()
    await _disconnected(receive)


def _raw_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    headers = {"content-type": answer.media_type, "content-length": str(len(answer.body)), **answer.headers}
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
