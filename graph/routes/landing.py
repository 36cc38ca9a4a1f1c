"""GraphiQL at the root, with operations to try."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from domain import demo
from domain.runtime import Runtime
from graph.examples import TABS
from graph.transports.graphiql import graphiql_page

_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


async def page(request: Request) -> Response:
    """In demo mode the demo account's token is filled in, for a browser on this machine."""
    return await show(request, TABS)


async def show(request: Request, tabs: Sequence[dict[str, Any]]) -> Response:
    """The page with these operations to try."""
    runtime: Runtime = request.app.state.runtime
    prefills = runtime.settings.demo and is_from_this_machine(request)
    token = await demo.token(runtime.database, runtime.settings) if prefills else None
    return graphiql_page(token=token, tabs=tabs)


def is_from_this_machine(request: Request) -> bool:
    """Whether a browser on this machine asked for it under this machine's own name, and not through a proxy.

    The name counts because a page from elsewhere could let its own name lead here, and then read what it is answered.
    """
    client = request.client.host if request.client else ""
    through_proxy = any(name in request.headers for name in _PROXIED)
    return not through_proxy and is_loopback(client) and is_loopback(request.url.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to the machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
