"""An agency's authorisation has ended: everybody sees it, nobody tries in vain, and the account's people are told once."""

from db.models.crm.connections import Connection, ConnectionStatus
from db.models.notifications import NotificationEvent
from domain.notifications.notices import notify
from domain.unit import Unit


async def lapse(unit: Unit, connection: Connection) -> None:
    """Keep that a connection must be authorised again. The caller has locked it, raises its version and hints at it."""
    if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        return
    connection.status = ConnectionStatus.REAUTHORIZATION_REQUIRED
    name = connection.name or connection.company_id
    await notify(
        unit,
        event=NotificationEvent.INTEGRATION_DISCONNECTED,
        title=f"{name} must be connected to GoHighLevel again",
        body="GoHighLevel no longer accepts the authorisation. What waits for it goes on by itself once it is given again.",
        path="/settings/integrations/gohighlevel",
    )
