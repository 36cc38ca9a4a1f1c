"""Sessions: one kind for an account's data under row-level security, and one, loudly named, for the system's own work."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from db.rls import APP_ROLE, SYSTEM_ROLE

# The internal one is what the driver says of a connection that broke off in the middle of an answer.
_DEAD = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    OSError,
)
_WORKED = "worked"


class Database:
    """The connections of one process. Open it inside the event loop that uses it, and never carry it across a fork."""

    def __init__(self, url: str, *, pool_size: int = 10, idle_seconds: float = 15.0) -> None:
        """A transaction in which nothing happens for `idle_seconds` is ended by PostgreSQL, and what it locked is free."""
        self._app = _engine(url, role=APP_ROLE, pool_size=pool_size, idle_seconds=idle_seconds)
        self._system = _engine(url, role=SYSTEM_ROLE, pool_size=max(2, pool_size // 2), idle_seconds=idle_seconds)

    def account(self, account_id: UUID) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that sees the rows of `account_id` and no others; commits at the end, rolls back on an exception."""
        return _transaction(self._app, f"BEGIN; SELECT set_config('app.account_id', '{account_id}', true)")

    def system_across_accounts(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that sees every account's rows of the system's tables. For sign-in, routing, admission and sweeps."""
        return _transaction(self._system, "BEGIN")

    async def system_row(
        self, query: sa.Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> sa.Row[*tuple[Any, ...]] | None:
        """The row, if there is one, that a single query finds in every account's rows; without a transaction's own trips."""
        while True:
            connection = await self._system.connect()
            info = connection.info
            try:
                row = (await connection.execute(query, parameters)).one_or_none()
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated or _WORKED not in info:
                    raise
            else:
                info[_WORKED] = True
                return row
            finally:
                await connection.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._app.dispose()
        await self._system.dispose()


def _engine(url: str, *, role: str, pool_size: int, idle_seconds: float) -> AsyncEngine:
    return create_async_engine(
        sa.make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        # The transaction is opened by hand, to send the account's id in the same trip as BEGIN.
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # a failed statement's values are customers' data, and its message reaches logs and job pages
        json_serializer=lambda value: orjson.dumps(value, default=str).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "server_settings": {
                "role": role,
                "application_name": role,
                # A process that was frozen or cut off in a transaction would hold its job's row, which no sweep could take.
                "idle_in_transaction_session_timeout": f"{idle_seconds * 1000:.0f}",
            },
            "timeout": 5,
            "command_timeout": 60,
        },
    )


@asynccontextmanager
async def _transaction(engine: AsyncEngine, begin: str) -> AsyncIterator[AsyncSession]:
    connection, driver = await _begin(engine, begin)
    try:
        async with AsyncSession(bind=connection, expire_on_commit=False, autoflush=False) as session:
            yield session
            await session.flush()
        await driver.execute("COMMIT")
    except BaseException:
        await _roll_back(connection, driver)
        raise
    finally:
        await connection.close()


async def _begin(engine: AsyncEngine, begin: str) -> tuple[AsyncConnection, Any]:
    """Send `begin` on a pooled connection. One that died since its last use is replaced: nothing ran on it yet."""
    while True:
        connection = await engine.connect()
        info = connection.info  # lives as long as the driver's connection
        try:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(begin)
        except _DEAD:
            await connection.invalidate()
            await connection.close()
            if _WORKED not in info:  # a new connection: PostgreSQL is away
                raise
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        else:
            info[_WORKED] = True
            return connection, driver


async def _roll_back(connection: AsyncConnection, driver: Any) -> None:
    try:
        await driver.execute("ROLLBACK")
    except (*_DEAD, asyncpg.PostgresError):
        await connection.invalidate()
