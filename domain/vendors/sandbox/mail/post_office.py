"""A mail server that keeps what it is given, and misbehaves as it is told.

Under `/__control__/mail`:

- GET ``: the inbox, oldest first: message_id, copies (how often this Message-ID came), from, to, subject, text, html,
  attachments (name, type, size, text), at; `?to=` one address only; DELETE empties it
- POST `faults` {"kind": "temporary", "times": 1, "to": null}: the next so many messages (times null: all) meet it
- DELETE `faults`: all is well again

Kinds: `refuse` (nothing listens until cleared), `temporary` (451), `permanent` (550), `hang`, `disconnect` (the connection
ends without an answer), `swallow` (likewise, but the message was kept).
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any, Final, cast

import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KINDS: Final = frozenset({"refuse", "temporary", "permanent", "hang", "disconnect", "swallow"})
_HANGS = 60.0
_BIGGEST = 40 << 20


@dataclass(slots=True)
class _Fault:
    kind: str
    times: int | None
    to: str | None


# Without slots: aiosmtpd looks at every attribute of its handler, which early 3.11 cannot bear of a class made with them.
@dataclass
class PostOffice:
    """Listens for SMTP at `host:port` while it is open."""

    host: str
    port: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _well: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start listening. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, self.host, self.port)

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
            self._well.set()
            self._server = None

    def inbox(self, to: str | None = None) -> list[dict[str, Any]]:
        """What came, oldest first."""
        copies = Counter(message["message_id"] for message in self.messages)
        wanted = [message for message in self.messages if to is None or to in message["to"]]
        return [message | {"copies": copies[message["message_id"]]} for message in wanted]

    async def order(self, kind: str, *, times: int | None = 1, to: str | None = None) -> None:
        """Let the next messages go wrong. Raises ValueError for an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(sorted(KINDS))}")
        self._well.clear()
        if kind == "refuse":
            await self.close()
        else:
            self._faults.append(_Fault(kind, times, to))

    async def clear(self) -> None:
        """All is well again."""
        self._faults.clear()
        self._well.set()
        if self._server is None:
            await self.open()

    def controls(self) -> list[Route]:
        """For whoever tests against it."""
        return [
            Route("/__control__/mail", self._log, methods=["GET", "DELETE"]),
            Route("/__control__/mail/faults", self._order, methods=["POST", "DELETE"]),
        ]

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuses an address for good where that was ordered."""
        if self._take("permanent", address) is not None:
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 -- likewise
        """Keeps the message."""
        to = str(envelope.rcpt_tos[0])
        met = (self._take(kind, to) for kind in ("hang", "temporary", "disconnect", "swallow"))
        kind = next((kind for kind in met if kind is not None), None)
        if kind == "hang":
            patience = asyncio.wait_for(self._well.wait(), _HANGS)
            await asyncio.gather(patience, return_exceptions=True)
        if kind in {"hang", "temporary"}:
            return "451 4.3.0 Try again later"
        if kind != "disconnect":
            self.messages.append(_read(envelope))
        if kind in {"disconnect", "swallow"}:
            cast("asyncio.Transport", server.transport).abort()
        return "250 OK"

    def _take(self, kind: str, to: str) -> str | None:
        for fault in self._faults:
            if fault.kind == kind and fault.to in {None, to} and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return kind
        return None

    def _protocol(self) -> SMTP:
        return SMTP(self, data_size_limit=_BIGGEST, hostname="sandbox", loop=asyncio.get_running_loop())

    async def _log(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.messages.clear()
        return JSONResponse(self.inbox(request.query_params.get("to")))

    async def _order(self, request: Request) -> Response:
        if request.method == "DELETE":
            await self.clear()
            return JSONResponse({})
        wanted = orjson.loads(await request.body())
        try:
            await self.order(wanted["kind"], times=wanted.get("times", 1), to=wanted.get("to"))
        except (KeyError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(wanted, 201)


def _read(envelope: Envelope) -> dict[str, Any]:
    message = message_from_bytes(cast("bytes", envelope.content), policy=policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        "message_id": str(message["Message-ID"]),
        "from": str(message["From"]),
        "to": [str(address) for address in envelope.rcpt_tos],
        "subject": str(message["Subject"]),
        "text": None if text is None else text.get_content().replace("\r\n", "\n"),
        "html": None if html is None else html.get_content().replace("\r\n", "\n"),
        "attachments": [_attachment(part) for part in message.iter_attachments()],
        "at": datetime.now(UTC).isoformat(),
    }


def _attachment(part: Any) -> dict[str, Any]:
    data = part.get_payload(decode=True)
    charset = part.get_content_charset("ascii")
    return {
        "name": part.get_filename(),
        "type": part.get_content_type(),
        "size": len(data),
        "text": data.decode(charset, errors="replace") if part.get_content_maintype() == "text" else None,
    }
