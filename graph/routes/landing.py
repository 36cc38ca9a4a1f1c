"""GraphiQL at the root, with operations to try."""

from starlette.requests import Request
from starlette.responses import Response

from domain import demo
from domain.runtime import Runtime
from graph.examples import TABS
from graph.transports.graphiql import graphiql_page


async def page(request: Request) -> Response:
    """In demo mode the demo account's token is filled in."""
    runtime: Runtime = request.app.state.runtime
    token = await demo.token(runtime.database, runtime.settings) if runtime.settings.demo else None
    return graphiql_page(token=token, tabs=TABS)
