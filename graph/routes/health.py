"""Whether the process lives, whether it can serve, and its metrics."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from domain import health


async def alive(_: Request) -> Response:
    """The event loop answers. Restart the process when this fails."""
    return JSONResponse({"status": "alive"})


async def ready(request: Request) -> Response:
    """PostgreSQL answers and its schema is up to date. Redis is reported, but its loss only costs latency."""
    report = await health.check(request.app.state.runtime)
    return JSONResponse({"status": "ready" if report.ready else "not ready", **report.parts}, 200 if report.ready else 503)


async def metrics(request: Request) -> Response:
    """Prometheus text format: this process's figures, and those of the jobs, which are the same from any web process."""
    await health.measure(request.app.state.runtime)
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
