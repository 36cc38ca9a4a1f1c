"""Structured logs: JSON a line, or coloured text on a terminal. The request id of a mutation is on its job's lines too."""

import logging
import sys
from typing import Any

import structlog

_SECRET = ("token", "password", "secret", "authorization", "api_key", "cookie")


def configure(level: str, *, process: str) -> None:
    """Set up logging of this process; `process` names it in every line."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            hide_secrets,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def hide_secrets(_logger: Any, _method: str, line: Any) -> Any:
    """Blank whatever is named like a secret, whoever logs it."""
    for key in line:
        if any(word in key.lower() for word in _SECRET):
            line[key] = "[hidden]"
    return line
