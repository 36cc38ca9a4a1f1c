"""The sandbox's ASGI application. Run it as its own process: `uvicorn --factory domain.vendors.sandbox.app:create_app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from domain.vendors.sandbox.gohighlevel import control
from domain.vendors.sandbox.gohighlevel.api import ENDPOINTS
from domain.vendors.sandbox.gohighlevel.door import Door
from domain.vendors.sandbox.gohighlevel.state import World
from domain.vendors.sandbox.options import Options, from_environment


def create_app() -> Starlette:
    """The sandbox as the environment describes it (see `options.from_environment`). Raises BadOptions."""
    return build(from_environment(os.environ))


def build(options: Options) -> Starlette:
    """A sandbox of its own; `app.state.gohighlevel` is its `World`.

    GoHighLevel answers at the root, as the vendor does; `/__control__/` is for whoever tests against it.
    """
    world = World(options)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await world.webhooks.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[Mount("/__control__", routes=control.routes(world)), Mount("/", app=Door(world, ENDPOINTS))],
    )
    app.state.gohighlevel = world
    return app
