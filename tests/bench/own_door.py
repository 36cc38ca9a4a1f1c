"""Strawberry's own way with the product's subscriptions: its own ASGI view, an execution and an encoding for each subscriber.

    python -m tests.bench.own_door PORT

The schema, the feeds and the one reader of a feed are the product's, so what differs is how events reach their subscribers.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from domain import settings as environment
from domain.runtime import open_runtime, quiet_collector
from graph.context import make_context
from graph.feeds import Feed, Item, Reader
from graph.live import Live
from graph.schema import schema


class Alone:
    """What a context follows feeds with: each resolver for itself, from the reader that they share."""

    def __init__(self) -> None:
        self._live = Live(None)  # type: ignore[arg-type]  # only its readers are used, which execute nothing

    async def follow(self, feed: Feed, *, after: Any = None) -> AsyncGenerator[Item, None]:
        """A snapshot, then everything that is new."""
        reader: Reader = self._live.reader_of(feed)
        inbox = reader.join(object())
        await reader.listening.wait()
        position, items = await feed.start(after)
        reader.begin(position)
        for item in items:
            yield item
        while True:
            item = await inbox.take()
            if item.position > position:
                yield item


class OwnDoor(GraphQL[Any, Any]):
    """Strawberry's view."""

    def __init__(self) -> None:
        schema.execution_context_class = StrawberryGraphQLCoreExecutionContext
        super().__init__(schema, subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL])
        self.alone = Alone()
        self.make_context: Any = None

    async def get_context(self, request: Any, response: Any) -> Any:  # noqa: ARG002 - strawberry's signature
        """The product's context, but for the sharing."""
        context = await self.make_context(request, None)
        context.live = self.alone
        return context


def main() -> None:
    """Serve until SIGTERM."""
    door = OwnDoor()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with open_runtime(environment.load()) as runtime:
            door.make_context = make_context(runtime)
            yield

    app = Starlette(routes=[WebSocketRoute("/graphql", door)], lifespan=lifespan)
    quiet_collector()
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
        log_level="warning",
        backlog=4096,
    )


if __name__ == "__main__":
    main()
