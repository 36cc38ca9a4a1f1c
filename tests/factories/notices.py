"""What a client asks of notifications, and waiting for messages to arrive."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.models.jobs import Job, Lane
from domain import actor as actors
from domain.actor import Scope
from domain.errors import VendorRefused
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs.handlers import handles
from tests.factories.client import Client
from tests.factories.engine import eventually
from tests.factories.house import House

HOOK = "/services/T0000001/B0000001/secretsecretsecret"
FIELDS = """id event title critical muted count channels url readAt createdAt
  items { title body error jobId jobKind jobState url job { id state }
    attempts { number outcome errorCode errorMessage httpStatus } }
  deliveries { id channel state attempts error fellBackAt fallbackOf userId subject }"""
LIST = f"""query ($filter: NotificationFilterInput) {{ unreadNotificationCount
  notifications(filter: $filter, first: 20) {{ totalCount nodes {{ {FIELDS} }} }} }}"""
LOG = """query ($filter: NotificationDeliveryFilterInput) { notificationDeliveries(filter: $filter, first: 20) { nodes {
  id channel state attempts error address subject userId fallbackOf fellBackAt nextAttemptAt endedAt createdAt } } }"""
PREFERENCES = """version enabled defaultChannel mutedUntil rules { event jobKind channels critical }
  defaults { event channels critical }"""
READ = f"{{ notificationPreferences {{ {PREFERENCES} }} }}"
UPDATE = f"""mutation ($input: UpdateNotificationPreferencesInput!) {{ updateNotificationPreferences(input: $input) {{
  preferences {{ {PREFERENCES} }} userErrors {{ code message field }} }} }}"""
MUTE = f"""mutation ($input: MuteNotificationsInput!) {{ muteNotifications(input: $input) {{
  preferences {{ {PREFERENCES} }} userErrors {{ code message field }} }} }}"""
CONNECT = """mutation ($input: ConnectSlackInput!) { connectSlack(input: $input) {
  slackConnection { status reason version } userErrors { code message field retryable } } }"""
DISCONNECT = """mutation ($input: DisconnectSlackInput!) { disconnectSlack(input: $input) {
  slackConnection { status reason version } userErrors { code message } } }"""
MARK = """mutation ($input: MarkNotificationsReadInput!) { markNotificationsRead(input: $input) {
  marked unreadCount userErrors { code message field } } }"""


@dataclass(frozen=True)
class Report(JobArgs, kind="test.report", title="Daily Report", lane=Lane.INTERACTIVE):
    """Ends at once: with `error`, or well with `message`, or in part."""

    message: str = "Done"
    error: str = ""
    partial: bool = False


@dataclass(frozen=True)
class Secret(JobArgs, kind="test.private", title="A secret", lane=Lane.INTERACTIVE, seen_with=Scope.LOGS_READ):
    """Shown to owners and admins only."""


@handles(Report)
async def report(job: Running[Report], runtime: Runtime) -> Done:
    """Does as it is told."""
    if job.args.error:
        raise VendorRefused(job.args.error, status=422)
    return Done(job.args.message, partial=job.args.partial)


@handles(Secret)
async def secret(job: Running[Secret], runtime: Runtime) -> Done:
    """Does nothing."""
    return Done("Nobody needs to know.")


async def ask(house: House, account_id: UUID, args: JobArgs, *, title: str | None = None) -> Job:
    """A new job, as a mutation asks for it: it starts right after the commit."""
    async with house.runtime.unit(actors.system(account_id)) as unit:
        return (await commands.enqueue(unit, args, title=title)).job


async def wish(client: Client, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Choose what to be told; the preferences then."""
    version = (await client.ask(READ))["notificationPreferences"]["version"]
    given = {"expectedVersion": version, "rules": list(rules), **more}
    payload = (await client.ask(UPDATE, input=given))["updateNotificationPreferences"]
    assert payload["userErrors"] == []
    chosen: dict[str, Any] = payload["preferences"]
    return chosen


def rule(event: str, *channels: str, **more: Any) -> dict[str, Any]:
    """A rule for an event."""
    return {"event": event, "channels": list(channels), **more}


async def connect_slack(client: Client, house: House, hook: str = HOOK) -> dict[str, Any]:
    """Connect the account to the sandbox's Slack; forgets the test message."""
    payload = (await client.ask(CONNECT, input={"webhookUrl": house.sandbox_url + hook}))["connectSlack"]
    assert payload["userErrors"] == []
    house.slack.messages.clear()
    connection: dict[str, Any] = payload["slackConnection"]
    return connection


async def told(client: Client, *, count: int = 1, within: float = 20, **wanted: Any) -> list[dict[str, Any]]:
    """The notifications that fit, newest first, once there are so many or more."""

    async def look() -> list[dict[str, Any]] | None:
        nodes: list[dict[str, Any]] = (await client.ask(LIST, filter=wanted))["notifications"]["nodes"]
        return nodes if len(nodes) >= count else None

    return await eventually(look, within=within)


async def logged(client: Client, *, count: int = 1, **wanted: Any) -> list[dict[str, Any]]:
    """The deliveries that fit, newest first, once there are so many or more."""

    async def look() -> list[dict[str, Any]] | None:
        nodes: list[dict[str, Any]] = (await client.ask(LOG, filter=wanted))["notificationDeliveries"]["nodes"]
        return nodes if len(nodes) >= count else None

    return await eventually(look)


async def mailed(house: House, to: str, *, count: int = 1, within: float = 20) -> list[dict[str, Any]]:
    """What the mail server has for an address, once that is so much or more."""

    async def look() -> list[dict[str, Any]] | None:
        found = house.inbox(to)
        return found if len(found) >= count else None

    return await eventually(look, within=within)


async def posted(house: House, *, count: int = 1, within: float = 20) -> list[dict[str, Any]]:
    """What was posted to Slack, once that is so much or more."""

    async def look() -> list[dict[str, Any]] | None:
        return house.slack.messages if len(house.slack.messages) >= count else None

    return await eventually(look, within=within)


async def settled(client: Client) -> list[dict[str, Any]]:
    """Every delivery of the account, once there is one and none is on its way any more."""

    async def look() -> list[dict[str, Any]] | None:
        nodes: list[dict[str, Any]] = (await client.ask(LOG, filter={}))["notificationDeliveries"]["nodes"]
        on_their_way = [node for node in nodes if node["state"] in {"QUEUED", "SENDING"}]
        return None if on_their_way else nodes

    return await eventually(look)
