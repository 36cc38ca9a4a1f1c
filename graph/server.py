"""The web server: uvicorn, which on its way down first tells streaming clients to go."""

from types import FrameType

import uvicorn

from domain.runtime import quiet_collector
from graph.app import App, create_app

_LARGEST_FRAME = 1024 * 1024
_GRACE = 5


class _Server(uvicorn.Server):
    def __init__(self, app: App, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.drain()
        super().handle_exit(sig, frame)


def serve(*, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; raises SettingsError."""
    app = create_app()
    quiet_collector()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=_LARGEST_FRAME,
        ws_per_message_deflate=False,  # doubles the memory of a subscriber
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE,
    )
    _Server(app, config).run()
