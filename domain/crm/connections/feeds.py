"""What a subscription to a connected agency follows."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from db.models.crm.connections import Connection, Location
from db.session import Database
from domain.actor import Actor, Scope
from domain.errors import NotFound
from domain.events import Events, Hint
from domain.unit import Unit

Position = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class ConnectionUpdate:
    """The agency as it is now. Its position rises with its version, its locations' versions, and each sync that ends."""

    position: Position
    connection: Connection


@dataclass(slots=True)
class ConnectionFeed:
    """One agency with its locations. It tells how things are, not each step on the way: there is no history to resume."""

    database: Database
    events: Events
    actor: Actor
    connection_id: UUID

    @property
    def key(self) -> Hashable:
        """Equal for all who follow this agency."""
        return ("connection", self.actor.account_id, self.connection_id)

    async def start(self, _after: object) -> tuple[Position, list[ConnectionUpdate]]:
        """How it is now."""
        update = await self._read()
        return update.position, [update]

    async def since(self, position: Position) -> tuple[Position, list[ConnectionUpdate]]:
        """How it is now, if that is news."""
        update = await self._read()
        return (update.position, [update]) if update.position > position else (position, [])

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[Hint]]:
        """Hints at agencies and locations of the account; there are few."""
        async with self.events.listen(self.actor.account_id) as mailbox:

            async def hints() -> AsyncIterator[Hint]:
                async for hint in mailbox:
                    if hint.gap or any(change.noun in {"connection", "location"} for change in hint.changes):
                        yield hint

            yield hints()

    async def _read(self) -> ConnectionUpdate:
        async with self.database.account(self.actor.account_id) as session:
            Unit(session, self.actor).require(Scope.CONNECTIONS_READ)
            mine = Connection.id == self.connection_id
            connection = (await session.scalars(sa.select(Connection).where(mine))).one_or_none()
            if connection is None:
                raise NotFound("There is no such agency.")
            synced = sa.func.coalesce(sa.extract("epoch", sa.func.max(Location.synced_at)), 0)
            query = sa.select(sa.func.coalesce(sa.func.sum(Location.version), 0), synced)
            versions, latest = (await session.execute(query.where(Location.connection_id == connection.id))).one()
        return ConnectionUpdate((connection.version, int(versions), float(latest)), connection)
