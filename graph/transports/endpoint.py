"""The one ASGI application for GraphQL, by all its doors."""

from collections.abc import Collection
from typing import Any

from starlette.types import Receive, Scope, Send

from graph.execution import Executor
from graph.live import Live
from graph.transports import http
from graph.transports.door import Door, MakeContext
from graph.transports.websocket import Socket


class GraphQLEndpoint:
    """ASGI application: HTTP, server-sent events, multipart and WebSocket at one path.

    Mount it as the endpoint of both a Route and a WebSocketRoute. `options` are Door's sizes and times.
    """

    def __init__(
        self, executor: Executor, make_context: MakeContext, *, allowed_origins: Collection[str] = (), **options: Any
    ) -> None:
        self.live = Live(executor)
        self._door = Door(executor, self.live, make_context, frozenset(allowed_origins), **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one socket."""
        if scope["type"] == "websocket":
            await Socket(self._door, scope, receive, send).serve()
        else:
            await http.serve(self._door, scope, receive, send)

    def drain(self) -> None:
        """Break off the HTTP streams, so that the server can stop; uvicorn itself closes WebSockets with 1012."""
        self._door.draining.set()

    async def close(self) -> None:
        """End every shared run of a subscription, and wait until all is released."""
        await self.live.close()
