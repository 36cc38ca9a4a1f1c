"""A vendor that does whatever it is asked as often as it is asked, and can be asked what it did."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.factories.house import _listener, _listening


@dataclass
class Receiver:
    """`made` has the ids of what was made, by key: more than one where an effect happened twice."""

    url: str = ""
    made: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    async def make(self, request: Request) -> PlainTextResponse:
        """Make it, whether or not it was made before."""
        made = str(uuid4())
        self.made[request.path_params["key"]].append(made)
        return PlainTextResponse(made)

    async def find(self, request: Request) -> PlainTextResponse:
        """What was made first, or nothing."""
        return PlainTextResponse(next(iter(self.made.get(request.path_params["key"], ())), ""))


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A vendor of one's own."""
    opened = Receiver()
    app = Starlette(
        routes=[
            Route("/{key}", opened.make, methods=["POST"]),
            Route("/{key}", opened.find, methods=["GET"]),
        ]
    )
    listener = _listener()
    opened.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with _listening(app, listener):
        yield opened
