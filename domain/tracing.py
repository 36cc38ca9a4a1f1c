"""Traces that lead from a request to the job it asked for and to the vendors that this called: OpenTelemetry's, sent by OTLP.

Without OTEL_EXPORTER_OTLP_ENDPOINT nothing is recorded and OpenTelemetry is not even imported. The `traceparent` of a request
goes with its jobs all the same, so that their logs name the trace of the caller.
"""

import atexit
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

Kind = Literal["internal", "server", "client", "consumer"]
Values = Mapping[str, str | int | float | bool | None]

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_LENGTH = 55
_EXPORT_WITHIN = 5  # seconds
_CLOSE_WITHIN = 2.0  # a collector that is away must not hold up a process that is told to stop

_provider: "TracerProvider | None" = None
_passed_on: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Span:
    """What is being traced now. Values are ids, codes and figures: nothing that a customer wrote, and no secret."""

    def set(self, values: Values) -> None:
        """Attach values, under the names of OpenTelemetry's conventions; None is left out."""

    def rename(self, name: str) -> None:
        """Give it the name that became known only now."""

    def fail(self, code: str) -> None:
        """Mark it as failed."""


class _Recording(Span):
    def __init__(self, span: "OtelSpan") -> None:
        self._span = span

    def set(self, values: Values) -> None:
        for name, value in values.items():
            if value is not None:
                self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, code))


NOTHING: Final = nullcontext(Span())


def configure(endpoint: str | None, *, process: str) -> None:
    """Send this process's spans to the collector at `endpoint`, such as http://collector:4318; None: nowhere.

    Other OTEL_ variables (OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER ...) mean what OpenTelemetry says.
    """
    global _provider  # noqa: PLW0603 -- a process has one
    if endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"bots.process": process})
    if resource.attributes.get(SERVICE_NAME, "unknown_service") == "unknown_service":
        resource = resource.merge(Resource({SERVICE_NAME: "bottleneck-bots"}))
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    atexit.register(close)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_WITHIN)
    _provider.add_span_processor(BatchSpanProcessor(exporter))


def close() -> None:
    """Send what is still to be sent, in two seconds at most, and trace nothing any more. A process does so when it ends."""
    global _provider  # noqa: PLW0603 -- likewise
    if _provider is not None:
        closing = threading.Thread(target=_provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_WITHIN)
    _provider = None


def span(name: str, *, kind: Kind = "internal", parent: str | None = None) -> AbstractContextManager[Span]:
    """Trace what happens within: under `parent`, a traceparent, where one is given, else under the current span.

    An exception that leaves it marks it as failed, by its class.
    """
    if _provider is not None:
        return _recording(_provider, name, kind, parent)
    return NOTHING if parent is None else _passing_on(parent)


def traceparent() -> str | None:
    """What continues the current trace elsewhere; None outside of any."""
    if _provider is None:
        return _passed_on.get()
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else None


def trace_id() -> str | None:
    """The current trace's id, for logs; None outside of any."""
    current = traceparent()
    return None if current is None else current.split("-")[1]


def parse(header: str | None) -> str | None:
    """A traceparent as W3C has it; None for anything else."""
    return header[:_LENGTH] if header and _TRACEPARENT.fullmatch(header) else None


@contextmanager
def _passing_on(parent: str) -> Iterator[Span]:
    token = _passed_on.set(parse(parent))
    try:
        yield Span()
    finally:
        _passed_on.reset(token)


@contextmanager
def _recording(provider: "TracerProvider", name: str, kind: Kind, parent: str | None) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    given = parse(parent)
    context = TraceContextTextMapPropagator().extract({"traceparent": given}) if given else None
    tracer = provider.get_tracer("bottleneck-bots")
    with tracer.start_as_current_span(
        name, context, SpanKind[kind.upper()], record_exception=False, set_status_on_exception=False
    ) as recorded:
        current = _Recording(recorded)
        try:
            yield current
        except BaseException as error:
            current.fail(type(error).__name__)
            raise
