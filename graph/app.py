"""The web process: GraphQL by all its doors, GraphiQL, and the few routes beside them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import orjson
import structlog
from prometheus_client import Histogram
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.base import new_id
from db.models.tenancy import AccessOutcome, ActorType
from domain import runtime as runtimes
from domain import settings as environment
from domain import tracing
from domain.files import links
from domain.logs import configure
from domain.runtime import CALLBACK_PATH, WEBHOOK_PATH, Runtime
from domain.settings import Settings, SettingsError
from domain.tenancy import budget, support
from domain.tenancy.budget import OPERATIONS
from domain.vendors.gohighlevel.webhooks import load_public_key
from graph.context import Context, make_context
from graph.execution import Executor, Operation
from graph.routes import files, health, landing, oauth, pages, webhooks
from graph.schema import schema
from graph.transports.endpoint import GraphQLEndpoint
from graph.transports.graphiql import graphiql_files

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_REQUESTS = Histogram("bots_http_seconds", "Requests by route and status", ["route", "method", "status"])

log = structlog.get_logger(__name__)


def create_app(settings: Settings | None = None) -> "App":
    """The ASGI application; settings come from the environment where none are given. Raises SettingsError."""
    loaded = settings or environment.load()
    configure(loaded.log_level, process="web")
    tracing.configure(loaded.otel_exporter_otlp_endpoint, process="web")
    return App(loaded)


class App:
    """The ASGI application. Its lifespan opens the runtime; `drain` ends long streams before the server stops."""

    def __init__(self, settings: Settings) -> None:
        try:
            load_public_key(settings.ghl_webhook_public_key)
        except ValueError as error:
            raise SettingsError(f"GHL_WEBHOOK_PUBLIC_KEY is not usable: {error}") from None
        self._settings = settings
        self._graphql: GraphQLEndpoint | None = None
        routes = [
            Route("/graphql", self._serve_graphql),
            WebSocketRoute("/graphql", self._serve_graphql),
            Route(CALLBACK_PATH, oauth.callback),
            Route(WEBHOOK_PATH, webhooks.gohighlevel, methods=["POST"]),
            Route(links.PATH + "{token}", files.download),
            Route("/healthz", health.alive),
            Route("/readyz", health.ready),
            Route("/metrics", health.metrics),
        ]
        if settings.graphiql:
            routes += [Route("/", landing.page), *pages.ROUTES, graphiql_files()]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-account", "x-request-id"],
            expose_headers=["x-request-id"],
        )
        middleware = [Middleware(Requests), *([cors] if settings.allowed_origins else [])]
        self.starlette = Starlette(routes=routes, middleware=middleware, lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, socket or lifespan."""
        await self.starlette(scope, receive, send)

    def drain(self) -> None:
        """The server is about to stop: tell streaming clients to come again elsewhere."""
        if self._graphql is not None:
            self._graphql.drain()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with runtimes.open_runtime(self._settings, pool_size=10) as runtime:
            app.state.runtime = runtime
            self._graphql = _graphql(runtime)
            yield
            await self._graphql.close()

    @property
    def _serve_graphql(self) -> ASGIApp:
        return _Late(self)

    @property
    def graphql(self) -> GraphQLEndpoint:
        """The GraphQL application, once the lifespan has begun."""
        assert self._graphql is not None, "the lifespan has not begun"  # noqa: S101 -- a fault of ours, never of a request
        return self._graphql


class _Late:
    """Routes are laid before the lifespan opens what they need. A class, since Starlette calls plain functions otherwise."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.graphql(scope, receive, send)


class Requests:
    """Gives every request an id, which is in its answer, its log lines, its audit entries and its jobs; and measures it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # each of its operations is traced by itself
            await self._serve(scope, receive, send, tracing.Span())
            return
        parent = tracing.parse(Headers(scope=scope).get("traceparent"))
        with tracing.span(scope["method"], kind="server", parent=parent) as span:
            await self._serve(scope, receive, send, span)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, span: tracing.Span) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else new_id().hex
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if (trace_id := tracing.trace_id()) is not None:
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
        span.set({"bots.request_id": request_id})
        started, status = perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            if scope["type"] == "http":
                route = getattr(scope.get("route"), "path", "other")
                _REQUESTS.labels(route, scope["method"], status).observe(perf_counter() - started)
                span.rename(f"{scope['method']} {route}")
                span.set(
                    {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status or None}
                )
            structlog.contextvars.unbind_contextvars("request_id", "trace_id")


def _graphql(runtime: Runtime) -> GraphQLEndpoint:
    async def admit(context: Context, operation: Operation) -> None:
        if context.credential is not None:
            actor = context.credential.actor
            await budget.spend(runtime.redis, OPERATIONS, of=str(actor.account_id), points=operation.cost)
            if actor.type is ActorType.SUPPORT:
                async with runtime.unit(actor) as unit:
                    for field in operation.root_fields:
                        support.log_access(unit, action=field, resource="GraphQL", outcome=AccessOutcome.ALLOWED)

    executor = Executor(schema, trusted=_trusted(runtime.settings), admit=admit)
    return GraphQLEndpoint(executor, make_context(runtime), allowed_origins=runtime.settings.allowed_origins)


def _trusted(settings: Settings) -> dict[str, str] | None:
    if settings.trusted_documents is None:
        return None
    documents: dict[str, Any] = orjson.loads(settings.trusted_documents.read_bytes())
    return {digest.removeprefix("sha256:"): text for digest, text in documents.items()}
