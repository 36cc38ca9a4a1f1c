"""A small schema, a feed in memory and a server, for tests of what is between a client and the resolvers."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route, WebSocketRoute
from strawberry.permission import BasePermission
from strawberry.scalars import JSON

from domain.errors import Invalid, Unauthenticated, VendorBusy
from graph.transports.endpoint import GraphQLEndpoint


@dataclass(frozen=True)
class Event:
    """What a Topic has; its position is its number, from 1."""

    position: int
    text: str
    last: bool = False


class Topic:
    """Events in memory, and who is to be told of new ones."""

    def __init__(self, name: str = "topic") -> None:
        self.name = name
        self.events: list[Event] = []
        self.listeners: set[asyncio.Queue[bool]] = set()
        self.reads = 0
        self.gates_before: list[asyncio.Event] = []
        self.gates_after: list[asyncio.Event] = []
        self.broken: Exception | None = None

    def publish(self, text: str, *, last: bool = False, hint: bool = True) -> Event:
        """Append an event, and hint unless told not to."""
        event = Event(len(self.events) + 1, text, last)
        self.events.append(event)
        if hint:
            self.hint()
        return event

    def hint(self) -> None:
        """Say that there may be something new."""
        for listener in self.listeners:
            listener.put_nowait(True)

    def drop_listeners(self) -> None:
        """Break every listener off, as a lost connection does."""
        for listener in self.listeners:
            listener.put_nowait(False)


class TopicFeed:
    """A feed of one Topic. Its snapshot is the newest event."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.key: Hashable = ("topic", topic.name)

    async def start(self, after: int | None) -> tuple[int, list[Event]]:
        if self.topic.gates_before:
            await self.topic.gates_before.pop(0).wait()
        events = list(self.topic.events)
        if self.topic.gates_after:
            await self.topic.gates_after.pop(0).wait()
        newest = events[-1:] if after is None or (events and events[-1].last) else []
        await asyncio.sleep(0)  # a read takes time, in which others run
        return len(events), newest or events[after:]

    async def since(self, position: int) -> tuple[int, list[Event]]:
        self.topic.reads += 1
        await asyncio.sleep(0)
        if self.topic.broken is not None:
            raise self.topic.broken
        return len(self.topic.events), self.topic.events[position:]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[object]]:
        queue: asyncio.Queue[bool] = asyncio.Queue()
        self.topic.listeners.add(queue)
        try:
            yield self._hints(queue)
        finally:
            self.topic.listeners.discard(queue)

    async def _hints(self, queue: asyncio.Queue[bool]) -> AsyncIterator[object]:
        while await queue.get():
            yield None


class Whispers(TopicFeed):
    """A feed that is told to each person alone."""

    personal = True

    def __init__(self, topic: Topic, user: str) -> None:
        super().__init__(topic)
        self.key = ("whispers", topic.name, user)


@dataclass
class World:
    """What contexts of one test share."""

    topics: dict[str, Topic] = field(default_factory=dict)
    executions: int = 0
    opened: int = 0
    closed: int = 0

    def topic(self, name: str = "topic") -> Topic:
        """The topic of that name, made where there is none."""
        return self.topics.setdefault(name, Topic(name))


class ToyContext:
    """A context as the doors ask for."""

    def __init__(
        self, world: World, *, user: str = "ann", may_introspect: bool = True, expires_at: datetime | None = None
    ) -> None:
        self.world = world
        self.user = user
        self.request_id = f"request-of-{user}"
        self.may_introspect = may_introspect
        self.expires_at = expires_at
        self.revocation = asyncio.Event()
        self.live: Any = None
        self.loaded: dict[str, str] = {}
        world.opened += 1

    @property
    def scope(self) -> Hashable:
        return self.user

    async def revoked(self) -> None:
        await self.revocation.wait()

    @property
    def person(self) -> Hashable:
        return self.user

    def for_feed(self, *, personal: bool = False) -> "ToyContext":  # noqa: ARG002 -- nobody here is anonymous
        return ToyContext(self.world, user=self.user)

    def follow(self, feed: TopicFeed, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Follow a feed, as the resolvers of the product do."""
        events: AsyncGenerator[Event, None] = self.live.follow(feed, after=after)
        return events

    async def close(self) -> None:
        self.world.closed += 1


def context_of(info: strawberry.Info) -> ToyContext:
    """The context, with its type."""
    context: ToyContext = info.context
    return context


@strawberry.enum
class Colour(Enum):
    """An enum with values that differ from its names."""

    RED = "r"
    BLUE = "b"


@strawberry.input
class Paint:
    """An input with an enum and a list inside."""

    colour: Colour
    coats: int = 1
    tags: list[str] = strawberry.field(default_factory=list)


@strawberry.input(one_of=True)
class Pick:
    """By one of two ways."""

    id: strawberry.Maybe[strawberry.ID]
    name: strawberry.Maybe[str]


class Never(BasePermission):
    """Refuses."""

    message = "You may not see this."

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:  # noqa: ARG002
        return False


@strawberry.type
class Node:
    """Something in a list."""

    id: strawberry.ID

    @strawberry.field
    def nodes(self, first: int | None = None) -> "Nodes":
        return Nodes.of(first)

    @strawberry.field
    async def owner(self, info: strawberry.Info) -> str:
        await asyncio.sleep(0)
        return context_of(info).user

    @strawberry.field(name="self")  # type: ignore[untyped-decorator]  # strawberry types the bare decorator only
    def itself(self) -> "Node":
        return self


@strawberry.type
class Nodes:
    """A connection."""

    nodes: list[Node]
    total_count: int

    @classmethod
    def of(cls, first: int | None) -> "Nodes":
        return cls(nodes=[Node(id=strawberry.ID(str(n))) for n in range(min(first or 2, 2))], total_count=2)


@strawberry.type
class Query:
    """Reads, and ways to fail."""

    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    def nodes(self, first: int | None = None, last: int | None = None, ids: list[strawberry.ID] | None = None) -> Nodes:  # noqa: ARG002
        return Nodes.of(first)

    @strawberry.field
    def paint(self, input: Paint) -> str:  # noqa: A002 - the name in the API
        return f"{input.coats} of {input.colour.name} is {input.colour.value}, {len(input.tags)} tags"

    @strawberry.field
    def pick(self, input: Pick) -> str:  # noqa: A002 - the name in the API
        return f"name {input.name.value}" if input.name else "by id"

    @strawberry.field
    def echo(self, value: JSON) -> JSON:
        return value

    @strawberry.field(permission_classes=[Never])  # type: ignore[untyped-decorator]  # as above
    def secret(self) -> str | None:
        return "secret"

    @strawberry.field
    def invalid(self) -> str | None:
        raise Invalid("The name is taken.", field=("input", "name"))

    @strawberry.field
    async def busy(self) -> str | None:
        raise VendorBusy("GoHighLevel is busy.", retry_after=3.5, status=429)

    @strawberry.field
    def boom(self) -> str | None:
        raise RuntimeError("password=hunter2")

    @strawberry.field
    def lies(self) -> int | None:
        return "not a number"  # type: ignore[return-value]  # a resolver that breaks its promise


@strawberry.type
class Mutation:
    """Writes."""

    @strawberry.mutation
    def publish(self, info: strawberry.Info, text: str) -> int:
        return context_of(info).world.topic().publish(text).position


@strawberry.type
class Said:
    """An event, with a field that must be resolved for each one anew."""

    position: int
    text: str

    @strawberry.field
    def user(self, info: strawberry.Info) -> str:
        context_of(info).world.executions += 1
        return context_of(info).user

    @strawberry.field
    def first_loaded(self, info: strawberry.Info) -> str:
        """What a loader would remember."""
        return context_of(info).loaded.setdefault("text", self.text)


@strawberry.type
class Subscription:
    """Streams."""

    @strawberry.subscription
    async def said(
        self, info: strawberry.Info, topic: str = "topic", after_position: int | None = None, only: str | None = None
    ) -> AsyncGenerator[Said, None]:
        if topic == "forbidden":
            raise Invalid("There is no such topic.", field=("topic",))
        context = context_of(info)
        async for event in context.follow(TopicFeed(context.world.topic(topic)), after=after_position):
            if event.text == "explode":
                raise RuntimeError("password=hunter2")
            if only is None or event.text == only:
                yield Said(position=event.position, text=event.text)
            if event.text == "explode after":
                raise RuntimeError("password=hunter2")

    @strawberry.subscription
    async def whispered(self, info: strawberry.Info) -> AsyncGenerator[str, None]:
        """What is said, to each person by name."""
        context = context_of(info)
        async for event in context.follow(Whispers(context.world.topic(), context.user)):
            yield f"{context.user}, {event.text}"

    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number


schema = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)


def make_context_of(world: World, **options: Any) -> Any:
    """A `make_context` that takes the user from the header or from connection_init; `nobody` is refused."""

    async def make_context(connection: HTTPConnection, parameters: dict[str, Any] | None) -> ToyContext:
        await asyncio.sleep(0)
        user = (parameters or {}).get("user") or connection.headers.get("x-user", "ann")
        if user == "nobody":
            raise Unauthenticated("Sign in first.")
        return ToyContext(world, user=user, **options)

    return make_context


@asynccontextmanager
async def serving(endpoint: GraphQLEndpoint, *routes: BaseRoute) -> AsyncIterator[str]:
    """A real server on a free port of this machine; gives `host:port`."""
    app = Starlette(routes=[Route("/graphql", endpoint), WebSocketRoute("/graphql", endpoint), *routes])
    config = uvicorn.Config(app, lifespan="off", log_level="error", ws="websockets-sansio", ws_per_message_deflate=False)
    # Started and stopped by hand: uvicorn's own loop looks every tenth of a second whether it is to stop.
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup([listener])
        try:
            host, port = listener.getsockname()
            yield f"{host}:{port}"
        finally:
            endpoint.drain()
            for each in server.servers:
                each.close()
            for connection in list(server.server_state.connections):
                connection.shutdown()
            if server.server_state.tasks:
                await asyncio.wait(server.server_state.tasks, timeout=5)
            await endpoint.close()
