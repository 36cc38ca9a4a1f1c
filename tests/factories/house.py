"""The whole system for a test: web, workers and sandbox in this process, over real HTTP, PostgreSQL, Valkey and RQ."""

import asyncio
import atexit
import base64
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog
import uvicorn
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from starlette.types import ASGIApp

from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import Lane
from db.models.tenancy import Account, User
from domain.runtime import WEBHOOK_PATH, Runtime, open_runtime
from domain.settings import Settings
from domain.tenancy import accounts, sessions
from domain.tenancy.sessions import Device
from domain.vendors.sandbox.app import build
from domain.vendors.sandbox.gohighlevel.state import World
from domain.vendors.sandbox.mail.post_office import PostOffice
from domain.vendors.sandbox.options import Options
from domain.vendors.sandbox.slack.hooks import SlackHooks
from graph.app import create_app
from jobs import clock, handlers, worker
from jobs.outlets import deliver_all
from jobs.worker import LaneWorker
from tests import servers
from tests.factories.client import Client

log = structlog.get_logger(__name__)

PASSWORD = "correct horse battery staple"
WEBHOOK_KEY = Ed25519PrivateKey.generate()

# Processes and runtimes of one test share its files; it is gone when the tests are.
_FILES = tempfile.mkdtemp(prefix="bots-files-")
atexit.register(shutil.rmtree, _FILES, ignore_errors=True)

# Hashing a password takes a tenth of a second by design. The hundreds of accounts that tests make are not about that.
accounts.HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass(frozen=True)
class House:
    """A running system without workers; `workers()` brings them."""

    settings: Settings
    runtime: Runtime
    http: httpx.AsyncClient
    sandbox_url: str
    world: World
    slack: SlackHooks
    mail: PostOffice

    @property
    def url(self) -> str:
        """Where the web server answers."""
        return self.settings.public_url

    @asynccontextmanager
    async def workers(self, *lanes: Lane, sweeping: bool = True) -> AsyncIterator[None]:
        """Workers of `lanes` (interactive and bulk where none are given) and a clock, until left; then they drain."""
        async with AsyncExitStack() as stack:
            runtime = await stack.enter_async_context(open_runtime(self.settings, pool_size=10))
            carriers = [LaneWorker(runtime, lane, capacity=10) for lane in lanes or (Lane.INTERACTIVE, Lane.BULK)]
            tasks = [asyncio.create_task(carrier.work()) for carrier in carriers]
            sweepers = [asyncio.create_task(work) for work in (_sweep(runtime), deliver_all(runtime))] if sweeping else []
            try:
                yield
            finally:
                for sweeper in sweepers:
                    sweeper.cancel()
                await asyncio.gather(*sweepers, return_exceptions=True)
                for carrier in carriers:
                    carrier.drain()
                await asyncio.gather(*tasks)

    def inbox(self, to: str | None = None) -> list[dict[str, Any]]:
        """What the mail server has for an address, oldest first; `tests.factories.notices` waits for it."""
        return self.mail.inbox(to)

    async def sweep(self) -> None:
        """One round of the clock."""
        await clock.sweep(self.runtime)

    async def account(self, name: str = "Bright & Co", *, is_staff: bool = False) -> tuple[Account, User]:
        """A new account with its owner (for a staff account, a support person)."""
        email = f"{name.lower().replace(' ', '.').replace('&', 'and')}@agency.example"
        return await accounts.create_account(
            self.runtime.database, name=name, owner_name=f"Owner of {name}", email=email, password=PASSWORD, is_staff=is_staff
        )

    async def client_of(self, user: User, *, account: str | None = None) -> Client:
        """A client that is signed in as `user`."""
        tokens = await sessions.start_session(self.runtime.database, self.settings, user=user, device=Device())
        return Client(self.http, tokens.access_token, account)

    def fault(self, kind: str, *, path: str = "*", times: int | None = 1, skip: int = 0, **how: object) -> None:
        """Let the vendor's next answers on `path` go wrong, after `skip` good ones."""
        self.world.faults.order({"match": {"path": path}, "times": times, "skip": skip, "fault": {"kind": kind, **how}})

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the sandbox's control endpoint."""
        async with httpx.AsyncClient(base_url=self.sandbox_url) as http:
            answer = await http.request(method, f"/__control__{path}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def revoke(self, company_id: str) -> None:
        """Let the vendor refuse every token of a company that it has issued so far."""
        await self.control("POST", "/faults", {"match": {"company": company_id}, "times": None, "fault": {"kind": "revoked"}})

    async def consent(self, authorization_url: str, **choices: str) -> dict[str, str]:
        """Follow the vendor's consent page as a user who decides; what comes back to the callback."""
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(authorization_url, params={**_query(authorization_url), "decision": "allow", **choices})
        return _query(answer.headers["location"])


async def _sweep(runtime: Runtime) -> None:
    """The clock's loop, on a shorter leash than in production, so that a test of a due retry is soon over."""
    while True:
        try:
            await clock.sweep(runtime)
        except Exception:  # as the clock goes on itself: without sweeps a test would wait in vain for what one would mend
            log.exception("clock.failed")
        await asyncio.sleep(0.2)


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@asynccontextmanager
async def _listening(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app, log_config=None, lifespan="on", timeout_graceful_shutdown=1, ws="websockets-sansio", ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if running.done():
            running.result()
        await asyncio.sleep(0)
    try:
        yield
    finally:
        server.should_exit = True
        await running


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # asyncio does not know this socket for TCP's, and would leave Nagle's algorithm on: 40 ms an answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def make_settings(database_url: str, redis_url: str, *, public_url: str, sandbox_url: str, **more: Any) -> Settings:
    """Settings of a test's system."""
    public_key = WEBHOOK_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    values: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "public_url": public_url,
        "access_token_key": SecretStr("k" * 48),
        "master_keys": {1: SecretStr(base64.b64encode(b"m" * 32).decode())},
        "ghl_client_id": "app123-x",
        "ghl_client_secret": SecretStr("hunter2-secret"),
        "ghl_webhook_public_key": base64.b64encode(public_key).decode(),
        "ghl_api_url": sandbox_url,
        "ghl_authorize_url": f"{sandbox_url}/v2/oauth/chooselocation",
        "slack_url": sandbox_url,
        "mail_from": "Bottleneck-Bots <bots@mail.example>",
        "log_level": "error",
        "files_url": f"file://{_FILES}",
        **more,
    }
    return Settings(**values)


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """What a module's tests set differently; override it there."""
    return {}


@asynccontextmanager
async def open_house(database_url: str, redis_url: str, **more_settings: Any) -> AsyncIterator[House]:
    """Web and sandbox, running; no workers yet."""
    handlers.load()
    web, vendor = _listener(), _listener()
    public_url = f"http://127.0.0.1:{web.getsockname()[1]}"
    sandbox_url = f"http://127.0.0.1:{vendor.getsockname()[1]}"
    mail_port = _free_port()
    more_settings = {"smtp_url": SecretStr(f"smtp://127.0.0.1:{mail_port}"), **more_settings}
    settings = make_settings(database_url, redis_url, public_url=public_url, sandbox_url=sandbox_url, **more_settings)
    options = Options(
        client_id=settings.ghl_client_id,
        client_secret=settings.ghl_client_secret.get_secret_value(),
        webhook_seed=WEBHOOK_KEY.private_bytes_raw(),
        webhook_url=f"{public_url}{WEBHOOK_PATH}",
        mail_port=mail_port,
    )
    sandbox, app = build(options), create_app(settings)
    async with AsyncExitStack() as stack:
        # A logger that is cached now would be deaf to `capture_logs` in every later test.
        structlog.configure(cache_logger_on_first_use=False)
        stack.callback(structlog.reset_defaults)
        await stack.enter_async_context(_listening(sandbox, vendor))
        await stack.enter_async_context(_listening(app, web))
        runtime = await stack.enter_async_context(open_runtime(settings, pool_size=5))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=public_url, timeout=20))
        yield House(settings, runtime, http, sandbox_url, sandbox.state.gohighlevel, sandbox.state.slack, sandbox.state.mail)


@pytest.fixture
async def house(
    database_url: str, redis_url: str, more_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    """A house of this test's own."""
    monkeypatch.setattr(worker, "POP_SECONDS", 0.1)
    async with open_house(database_url, redis_url, **more_settings) as opened:
        yield opened


@pytest.fixture(scope="module")
async def shared_house(postgres: EmbeddedPostgres, template_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    """A house for all tests of a module, each with an account of its own. None of them breaks what the others use."""
    database_url = await servers.clone(postgres)
    async with open_house(database_url, valkey.url) as opened:
        yield opened
    await servers.drop(postgres, database_url)


@pytest.fixture
async def owner(house: House) -> Client:
    """A client signed in as the owner of a new account."""
    _, user = await house.account()
    return await house.client_of(user)
