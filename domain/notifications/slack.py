"""Connecting an account to a Slack channel, by the URL of an incoming webhook."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.notifications import SlackConnection, SlackStatus
from domain.actor import Actor, Scope
from domain.errors import NotFound
from domain.notifications.outbox import Outbox
from domain.notifications.parcels import SLACK_PURPOSE
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit


async def connect(outbox: Outbox, actor: Actor, *, url: str) -> SlackConnection | None:
    """Post a test message to `url`, and from then on what goes to Slack. With the URL that is connected it does nothing.

    Raises Forbidden, NoWebhook, WebhookGone, VendorFailed.
    """
    actor.require(Scope.SETTINGS_WRITE)
    url = outbox.slack.checked(url)
    async with outbox.open_unit(actor) as unit:
        stored = await get(unit)
        sealed = None if stored is None else stored.webhook
        if sealed is not None and await outbox.vault.unseal(unit, sealed, purpose=SLACK_PURPOSE) == url:
            return stored
    await outbox.slack.post(url, {"text": "Bottleneck-Bots is connected: what you choose to be told of appears here."})
    async with outbox.open_unit(actor) as unit:
        sealed = await outbox.vault.seal(unit, url, purpose=SLACK_PURPOSE)
        values = {
            "status": SlackStatus.CONNECTED,
            "webhook": sealed,
            "reason": None,
            "connected_at": sa.func.now(),
            "disconnected_at": None,
        }
        row = insert(SlackConnection).values(account_id=unit.account_id, **values)
        row = row.on_conflict_do_update(
            index_elements=[SlackConnection.account_id], set_={**values, "version": SlackConnection.version + 1}
        )
        connection = (
            await unit.session.scalars(row.returning(SlackConnection), execution_options={"populate_existing": True})
        ).one()
        unit.audit("slack.connect", subject_type="slack_connection", subject_id=None)
    return connection


async def disconnect(unit: Unit, *, expected_version: int) -> SlackConnection:
    """Forget the URL. What is still to go to Slack goes by e-mail. Raises Forbidden, NotFound, StaleVersion."""
    unit.require(Scope.SETTINGS_WRITE)
    stored = (await unit.session.scalars(sa.select(SlackConnection).with_for_update())).one_or_none()
    if stored is None:
        raise NotFound("Slack was never connected.")
    if stored.version != expected_version:
        raise StaleVersion("Slack was connected anew meanwhile, or disconnected.", field=("expectedVersion",))
    if stored.status is SlackStatus.DISCONNECTED:
        return stored
    gone = (
        sa.update(SlackConnection)
        .where(SlackConnection.account_id == unit.account_id)
        .values(
            status=SlackStatus.DISCONNECTED,
            webhook=None,
            reason="It was disconnected here.",
            version=SlackConnection.version + 1,
            disconnected_at=sa.func.now(),
        )
        .returning(SlackConnection)
    )
    connection = (await unit.session.scalars(gone, execution_options={"populate_existing": True})).one()
    unit.audit("slack.disconnect", subject_type="slack_connection", subject_id=None)
    return connection


async def get(unit: Unit) -> SlackConnection | None:
    """The account's Slack channel, if there ever was one."""
    return (await unit.session.scalars(sa.select(SlackConnection))).one_or_none()
