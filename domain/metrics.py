"""What every process measures about itself, and how a worker or clock shows it."""

import asyncio
import time

import structlog
from prometheus_client import Gauge, Histogram, start_http_server

_TURN = 0.5

LAG = Histogram(
    "bots_loop_lag_seconds",
    "How late the event loop was to do what was due; a step that blocks it is seen here",
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 30),
)
_SILENT = Gauge("bots_loop_silent_seconds", "Since when the event loop has not turned, also while it is blocked")
STEPS = Histogram(
    "bots_step_seconds",
    "What dispatchers and sweeps do, by step: admit, react, ready_due ...",
    ["step"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10),
)

log = structlog.get_logger(__name__)


class Pulse:
    """The event loop's beat: a task that should turn twice a second."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    async def watch(self) -> None:
        """Measure until cancelled."""
        _SILENT.set_function(self.silent)
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(_TURN)
            LAG.observe(max(0.0, time.monotonic() - self._last - _TURN))

    def silent(self) -> float:
        """Seconds by which the next turn is late. Called by the thread that serves the metrics."""
        return max(0.0, time.monotonic() - self._last - _TURN)


def serve(port: int | None, *, host: str) -> None:
    """Serve this process's metrics at /metrics from a thread of its own, which answers also while the event loop is blocked.

    Of several processes of a machine that are given the same port, the first one has it; the others say so and work on.
    """
    if port is None:
        return
    try:
        start_http_server(port, host)
    except OSError as error:
        log.warning("metrics.not_served", port=port, error=str(error))
