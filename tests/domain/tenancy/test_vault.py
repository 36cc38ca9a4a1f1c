"""Stored secrets: sealed at rest, bound to their place, and outliving the rotation of master keys."""

import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import new_id
from db.models.tenancy import Account, DataKey
from db.session import Database
from domain import actor as actors
from domain.tenancy import vault as vaults
from domain.tenancy.vault import Unsealable, Vault
from domain.unit import Unit
from tests.factories.crm import connect
from tests.factories.house import House, make_settings
from tests.factories.people import new_owner
from tests.factories.rows import unit_of

TOKEN = "the-vendor-s-refresh-token"
OLD = SecretStr(base64.b64encode(b"o" * 32).decode())
NEW = SecretStr(base64.b64encode(b"n" * 32).decode())


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=2)
    yield database
    await database.close()


async def make_account(database: Database) -> UUID:
    account = Account(id=new_id(), name="Bright & Co")
    async with database.account(account.id) as session:
        session.add(account)
    return account.id


def unit(session: AsyncSession, account_id: UUID) -> Unit:
    return Unit(session, actors.system(account_id))


async def seal(database: Database, vault: Vault, account_id: UUID, purpose: str = "test") -> bytes:
    async with database.account(account_id) as session:
        return await vault.seal(unit(session, account_id), TOKEN, purpose=purpose)


async def unseal(database: Database, vault: Vault, account_id: UUID, sealed: bytes, purpose: str = "test") -> str:
    async with database.account(account_id) as session:
        return await vault.unseal(unit(session, account_id), sealed, purpose=purpose)


async def test_what_is_sealed_opens_again_in_any_process(database: Database) -> None:
    account_id = await make_account(database)
    sealed = await seal(database, Vault({1: OLD}), account_id)
    assert await unseal(database, Vault({1: OLD}), account_id, sealed) == TOKEN


async def test_the_same_secret_is_sealed_differently_each_time(database: Database) -> None:
    account_id, vault = await make_account(database), Vault({1: OLD})
    assert await seal(database, vault, account_id) != await seal(database, vault, account_id)


async def test_a_sealed_secret_belongs_to_its_account_and_its_purpose(database: Database) -> None:
    account_id, vault = await make_account(database), Vault({1: OLD})
    sealed = await seal(database, vault, account_id, "connection.refresh")
    with pytest.raises(Unsealable):
        await unseal(database, vault, account_id, sealed, "connection.access")
    with pytest.raises(Unsealable):
        await unseal(database, vault, await make_account(database), sealed, "connection.refresh")


@pytest.mark.parametrize("place", [0, 11, 12, 20, -1])
async def test_tampering_is_noticed(database: Database, place: int) -> None:
    account_id, vault = await make_account(database), Vault({1: OLD})
    sealed = bytearray(await seal(database, vault, account_id))
    sealed[place] ^= 1
    with pytest.raises(Unsealable):
        await unseal(database, vault, account_id, bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 12, b"x" * 27])
async def test_what_is_too_short_to_be_a_secret_does_not_open(database: Database, sealed: bytes) -> None:
    with pytest.raises(Unsealable):
        await unseal(database, Vault({1: OLD}), await make_account(database), sealed)


async def test_the_data_key_is_of_no_use_without_its_master_key(database: Database) -> None:
    account_id = await make_account(database)
    sealed = await seal(database, Vault({1: OLD}), account_id)
    for wrong in (Vault({1: NEW}), Vault({2: OLD})):
        with pytest.raises(Unsealable):
            await unseal(database, wrong, account_id, sealed)


async def test_a_data_key_of_another_account_does_not_open(database: Database) -> None:
    """Whoever can write to the database cannot give an account a key that they know."""
    account_id, other = await make_account(database), await make_account(database)
    sealed = await seal(database, Vault({1: OLD}), account_id)
    await seal(database, Vault({1: OLD}), other)
    async with database.account(other) as session:
        wrapped = await session.scalar(sa.select(DataKey.wrapped))
    async with database.account(account_id) as session:
        await session.execute(sa.update(DataKey).values(wrapped=wrapped))
    with pytest.raises(Unsealable):
        await unseal(database, Vault({1: OLD}), account_id, sealed)


async def test_a_key_that_was_rolled_back_is_not_used_again(database: Database) -> None:
    """Or what is sealed with it afterwards could never be opened."""
    account_id, vault = await make_account(database), Vault({1: OLD})

    async def fail() -> None:
        async with database.account(account_id) as session:
            await vault.seal(unit(session, account_id), "one", purpose="test")
            await vault.seal(unit(session, account_id), "two", purpose="test")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    sealed = await seal(database, vault, account_id)
    assert await unseal(database, Vault({1: OLD}), account_id, sealed) == TOKEN


async def test_the_first_secrets_of_an_account_may_be_sealed_by_two_processes_at_once(database: Database) -> None:
    account_id = await make_account(database)
    async with database.account(account_id) as session:
        one = await Vault({1: OLD}).seal(unit(session, account_id), TOKEN, purpose="test")
    other = await seal(database, Vault({1: OLD}), account_id)
    for sealed in (one, other):
        assert await unseal(database, Vault({1: OLD}), account_id, sealed) == TOKEN


async def test_rotation_wraps_every_key_anew_and_the_old_master_may_go(database: Database, database_url: str) -> None:
    account_ids = [await make_account(database) for _ in range(3)]
    running = Vault({1: OLD})
    sealed = [await seal(database, running, account_id) for account_id in account_ids]
    for account_id, secret in zip(account_ids, sealed, strict=True):
        assert await unseal(database, running, account_id, secret) == TOKEN
    settings = make_settings(database_url, "redis://", public_url="http://x", sandbox_url="http://x")
    both: dict[str, Any] = {"master_keys": {1: OLD, 2: NEW}}
    assert await vaults.rotate_all(settings.model_copy(update=both)) == 3
    assert await vaults.rotate_all(settings.model_copy(update=both)) == 0, "there is nothing left to do"
    for account_id, secret in zip(account_ids, sealed, strict=True):
        assert await unseal(database, Vault({2: NEW}), account_id, secret) == TOKEN
        assert await unseal(database, running, account_id, secret) == TOKEN, "a process that runs on is not disturbed"
    with pytest.raises(Unsealable):
        await unseal(database, Vault({1: OLD}), account_ids[0], sealed[0])


async def test_rotation_without_the_old_master_key_changes_nothing(database: Database, database_url: str) -> None:
    account_id = await make_account(database)
    sealed = await seal(database, Vault({1: OLD}), account_id)
    settings = make_settings(database_url, "redis://", public_url="http://x", sandbox_url="http://x", master_keys={2: NEW})
    with pytest.raises(Unsealable):
        await vaults.rotate_all(settings)
    assert await unseal(database, Vault({1: OLD}), account_id, sealed) == TOKEN


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", base64.b64encode(b"k" * 33).decode()])
def test_a_master_key_is_32_bytes(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault({1: SecretStr(key)})


async def test_no_token_of_a_connected_agency_can_be_read_in_the_database(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    await connect(owner.client, shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        stored = await unit.session.execute(sa.text("SELECT access_token, refresh_token, connection::text FROM connection"))
        access, refresh, row = stored.one()
        tokens = [
            await shared_house.runtime.vault.unseal(unit, access, purpose="connection.access"),
            await shared_house.runtime.vault.unseal(unit, refresh, purpose="connection.refresh"),
        ]
    for token in tokens:
        assert len(token) > 30
        assert token not in row
        assert token.encode() not in access + refresh
