"""What all doors share."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import HTTPConnection

from graph.execution import Context, Executor
from graph.live import Live

MakeContext = Callable[[HTTPConnection, dict[str, Any] | None], Awaitable[Context]]


@dataclass(frozen=True, slots=True)
class Door:
    """How requests come in. Times are in seconds, sizes in bytes.

    `make_context` gets the request, and over WebSocket the payload of connection_init. It is awaited once for each operation,
    so that a socket's operations share no loaders and a revoked credential starts nothing; it raises Unauthenticated where
    there is a credential and it is not valid.
    """

    executor: Executor
    live: Live
    make_context: MakeContext
    allowed_origins: frozenset[str] = frozenset()
    max_body: int = 1 << 20
    body_timeout: float = 30.0
    heartbeat: float = 12.0
    init_timeout: float = 10.0
    socket_operations: int = 100
    socket_burst: int = 600
    socket_rate: float = 100.0
    draining: asyncio.Event = field(default_factory=asyncio.Event)


def seconds_left(context: Context) -> float | None:
    """Until the context's credential ends; None: for ever."""
    return None if context.expires_at is None else max(0.0, (context.expires_at - datetime.now(UTC)).total_seconds())
