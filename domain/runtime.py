"""The one composition root: what a process holds open. Web, workers, clock and command line each open one."""

import asyncio
import gc
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog
from redis import asyncio as redis
from redis.exceptions import RedisError

from db.models.jobs import Job, Lane
from db.session import Database
from domain import metrics, reactions
from domain.actor import Actor
from domain.crm.connections.app import GhlApp
from domain.events import Announcement, Change, Events
from domain.files.links import Links
from domain.files.store import FileStore
from domain.jobs import admission
from domain.jobs.carrier import Carrier
from domain.notifications.outbox import Outbox
from domain.settings import Settings
from domain.tenancy.vault import Vault
from domain.unit import Unit
from domain.vendors.gohighlevel.oauth import OAuth, OAuthApp
from domain.vendors.http import VendorHttp, open_client
from domain.vendors.limits import Limiter
from domain.vendors.mail.client import MailServer
from domain.vendors.slack.client import Slack
from domain.webhooks.sending import Sender

CALLBACK_PATH = "/oauth/gohighlevel/callback"
WEBHOOK_PATH = "/webhooks/gohighlevel"

log = structlog.get_logger(__name__)


def quiet_collector() -> None:
    """Called once by a process that has loaded its code: Python's cycle collector then leaves all of it alone.

    It would otherwise walk it again and again while answers are parsed and built; that took two thirds of the time to parse a
    page of contacts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything with a connection behind it."""

    settings: Settings
    database: Database
    events: Events
    carrier: Carrier
    redis: redis.Redis
    vault: Vault
    ghl: GhlApp
    files: FileStore
    links: Links
    webhooks: Sender
    outbox: Outbox

    def unit(self, actor: Actor) -> AbstractAsyncContextManager[Unit]:
        """One transaction as `actor`; after its commit, what the unit promised is delivered."""
        return _unit(self, actor)

    async def admit(self, lane: Lane, account_id: UUID | None = None) -> None:
        """Let ready jobs start, as many as there is room for. A failure is logged: the clock admits again within seconds."""
        full = True
        while full:
            try:
                with metrics.STEPS.labels("admit").time():
                    admitted = await admission.admit(
                        self.database, self.carrier, lane=lane, account_id=account_id, lease=self.settings.lease
                    )
            except Exception as error:  # noqa: BLE001 -- what was asked for is committed, and must not fail for this
                log.warning("admission.failed", error=str(error), kind=type(error).__name__, lane=lane.value)
                return
            await self.announce_all(admitted)
            full = len(admitted) >= admission.BATCH

    async def react(self) -> None:
        """Let what follows from the jobs' latest moves happen now. A failure is logged: the clock does it within seconds."""
        followed = await self._follow()
        if followed is None:
            followed = await self._follow(carefully=True) or []
        await self.announce_all(followed)
        for lane in {each.lane for each in followed if isinstance(each, Job)}:
            await self.admit(lane)

    async def _follow(self, *, carefully: bool = False) -> list[Job | Announcement] | None:
        try:
            with metrics.STEPS.labels("react").time():
                async with self.database.system_across_accounts() as session:
                    return await reactions.react(session, carefully=carefully)
        except Exception as error:  # noqa: BLE001 -- the moves stay until somebody has reacted to them
            log.warning("reactions.failed", error=str(error), kind=type(error).__name__, carefully=carefully)
            return None

    async def announce_all(self, followed: Iterable[Job | Announcement]) -> None:
        """Hint subscribers at jobs that moved and whatever else changed: once for each account, until Redis fails."""
        changes: dict[UUID, list[Change]] = defaultdict(list)
        for each in followed:
            changes[each.account_id].append(Change("job", each.id) if isinstance(each, Job) else each.change)
        for account_id, changed in changes.items():
            if not await self.publish(account_id, changed):
                return  # to wait for it once more for each account would hold up everything else

    async def announce(self, job: Job) -> None:
        """Hint subscribers at a job that moved."""
        await self.publish(job.account_id, [Change("job", job.id)])

    async def publish(self, account_id: UUID, changes: list[Change]) -> bool:
        """Hint at changes; whether Redis took it. A failure is logged: subscribers read again after a gap."""
        try:
            await self.events.publish(account_id, changes)
        except (RedisError, OSError) as error:
            log.warning("events.publish_failed", error=str(error))
            return False
        return True


@asynccontextmanager
async def open_runtime(settings: Settings, *, pool_size: int = 10) -> AsyncIterator[Runtime]:
    """Open in the event loop that uses it; closes in reverse order."""
    database = Database(settings.database_url, pool_size=pool_size, idle_seconds=settings.lease_seconds / 2)
    events = Events(settings.redis_url)
    carrier = Carrier(settings.redis_url)
    connection: redis.Redis = redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=5)
    http = open_client()
    registration = OAuthApp(
        client_id=settings.ghl_client_id,
        client_secret=settings.ghl_client_secret.get_secret_value(),
        api_url=settings.ghl_api_url,
        authorize_url=settings.ghl_authorize_url,
    )
    limiter = Limiter(connection, vendor="gohighlevel", burst=settings.ghl_burst, seconds=settings.ghl_burst_seconds)
    vendor = VendorHttp(http, vendor="GoHighLevel")
    vault = Vault(settings.master_keys)

    def open_unit(actor: Actor) -> AbstractAsyncContextManager[Unit]:
        return runtime.unit(actor)

    ghl = GhlApp(
        http=vendor,
        oauth=OAuth(vendor, registration, limiter=limiter),
        registration=registration,
        limiter=limiter,
        vault=vault,
        open_unit=open_unit,
        redirect_uri=settings.public_url.rstrip("/") + CALLBACK_PATH,
    )
    files = FileStore(settings.files_url or (settings.data_dir / "files").absolute().as_uri())
    links = Links(settings.access_token_key, settings.public_url)
    webhooks = Sender(vault, allow_loopback=settings.is_sandboxed)
    outbox = Outbox(
        database=database,
        open_unit=open_unit,
        vault=vault,
        files=files,
        slack=Slack(VendorHttp(http, vendor="Slack"), settings.slack_url),
        mail=None if settings.smtp_url is None else MailServer.parse(settings.smtp_url.get_secret_value()),
        mail_from=settings.mail_from,
        site=(settings.spa_url or settings.public_url).rstrip("/"),
    )
    runtime = Runtime(settings, database, events, carrier, connection, vault, ghl, files, links, webhooks, outbox)
    await events.open()
    pulse = asyncio.create_task(metrics.Pulse().watch())
    try:
        yield runtime
    finally:
        pulse.cancel()
        await ghl.settle()
        await events.close()
        await http.aclose()
        await webhooks.close()
        carrier.close()
        await connection.aclose()
        await database.close()


@asynccontextmanager
async def _unit(runtime: Runtime, actor: Actor) -> AsyncIterator[Unit]:
    async with runtime.database.account(actor.account_id) as session:
        unit = Unit(session, actor)
        yield unit
    if unit.changes:
        await runtime.publish(unit.account_id, unit.changes)
    if unit.reacts:
        await runtime.react()
    for lane in unit.lanes_to_admit:
        await runtime.admit(lane, unit.account_id)
