"""A receiver of webhooks that keeps what came, and answers as it is told: somebody's server, for trying ours out.

POST /__hooks__/{name} receives; GET tells what came, oldest first; PUT {"status": 500, "times": 3, "delay": 0.5, "body": "x"}
lets the next so many answers be like that (all of them without `times`); DELETE forgets everything about the name.
"""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_KEPT = 1_000
_LONGEST_DELAY = 60.0


@dataclass(slots=True)
class _Hook:
    received: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    status: int = 200
    times: int | None = 0
    delay: float = 0.0
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)


class Hooks:
    """The receivers of one sandbox, by their names."""

    def __init__(self) -> None:
        self._hooks: dict[str, _Hook] = defaultdict(_Hook)

    def routes(self) -> list[Route]:
        """To be mounted at `/__hooks__`."""
        return [
            Route("/{name}", self._receive, methods=["POST"]),
            Route("/{name}", self._told, methods=["GET"]),
            Route("/{name}", self._order, methods=["PUT"]),
            Route("/{name}", self._forget, methods=["DELETE"]),
        ]

    async def _receive(self, request: Request) -> Response:
        hook = self._hooks[request.path_params["name"]]
        raw = await request.body()
        misbehaves = hook.times is None or hook.times > 0
        if hook.times:
            hook.times -= 1
        status = hook.status if misbehaves else 200
        hook.received.append(
            {
                "at": datetime.now(UTC).isoformat(),
                "status": status,
                "headers": dict(request.headers),
                "body": raw.decode("utf-8", errors="replace"),
            }
        )
        if not misbehaves:
            return Response("ok")
        await asyncio.sleep(hook.delay)
        return Response(hook.body, status, headers=hook.headers)

    async def _told(self, request: Request) -> Response:
        return _json(list(self._hooks[request.path_params["name"]].received))

    async def _order(self, request: Request) -> Response:
        hook = self._hooks[request.path_params["name"]]
        try:
            order = orjson.loads(await request.body() or b"{}")
            hook.status = int(order.get("status", 200))
            hook.times = None if order.get("times") is None else int(order["times"])
            hook.delay = min(float(order.get("delay", 0)), _LONGEST_DELAY)
            hook.body = str(order.get("body", "ok"))
            hook.headers = {str(name): str(value) for name, value in order.get("headers", {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            return _json({"error": str(error)}, 400)
        return _json({})

    async def _forget(self, request: Request) -> Response:
        self._hooks.pop(request.path_params["name"], None)
        return _json({})


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
