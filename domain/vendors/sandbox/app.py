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
from domain.vendors.sandbox.hooks import Hooks
from domain.vendors.sandbox.mail.post_office import PostOffice
from domain.vendors.sandbox.options import Options, from_environment
from domain.vendors.sandbox.slack.hooks import SlackHooks


def create_app() -> Starlette:
    """The sandbox as the environment describes it (see `options.from_environment`). Raises BadOptions."""
    return build(from_environment(os.environ))


def build(options: Options) -> Starlette:
    """A sandbox of its own; `app.state` has its `gohighlevel` (a World), `slack` and `mail`.

    GoHighLevel answers at the root, as the vendor does; `/__control__/` is for whoever tests against it. `/__hooks__/`
    receives webhooks, `/services/` what is posted to Slack, and a port of its own e-mail.
    """
    world, slack = World(options), SlackHooks()
    mail = PostOffice(options.mail_host, options.mail_port or 0)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if options.mail_port is not None:
            await mail.open()
        yield
        slack.clear()
        await mail.close()
        await world.webhooks.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[
            *slack.controls(),
            *mail.controls(),
            Mount("/__control__", routes=control.routes(world)),
            *slack.routes(),
            Mount("/__hooks__", routes=Hooks().routes()),
            Mount("/", app=Door(world, ENDPOINTS)),
        ],
    )
    app.state.gohighlevel, app.state.slack, app.state.mail = world, slack, mail
    return app
