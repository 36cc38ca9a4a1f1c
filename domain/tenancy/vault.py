"""Secrets of an account: AES-256-GCM under the account's own data key, which is wrapped by a versioned master key.

A sealed value is bound to its account and its purpose: moved to another row it does not open. Rotating the master key wraps
every data key anew; the sealed values stay as they are.
"""

import base64
import os
from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.tenancy import DataKey
from db.session import Database
from domain.settings import Settings
from domain.unit import Unit

_NONCE = 12
_KEY = 32
_BATCH = 500


class Unsealable(Exception):
    """A stored secret does not open: its master key is not in MASTER_KEYS, or it was tampered with."""


class Vault:
    """Seals and opens with the master keys of this deployment; the highest version wraps new data keys."""

    def __init__(self, master_keys: Mapping[int, SecretStr]) -> None:
        self._masters = {version: AESGCM(_decode(key)) for version, key in master_keys.items()}
        self._newest = max(self._masters)
        self._data_keys: dict[UUID, AESGCM] = {}

    async def seal(self, unit: Unit, plain: str, *, purpose: str) -> bytes:
        """Encrypt for the unit's account."""
        key = await self._data_key(unit)
        nonce = os.urandom(_NONCE)
        return nonce + key.encrypt(nonce, plain.encode(), _bound_to(unit.account_id, purpose))

    async def unseal(self, unit: Unit, sealed: bytes, *, purpose: str) -> str:
        """Decrypt. Raises Unsealable."""
        key = await self._data_key(unit)
        try:
            return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound_to(unit.account_id, purpose)).decode()
        except (InvalidTag, ValueError):  # ValueError: it is too short to be one
            raise Unsealable(f"A stored secret ({purpose}) does not open.") from None

    async def rotate(self, session: AsyncSession) -> int:
        """Wrap up to 500 data keys with the newest master key; returns how many. Takes a session across accounts."""
        stale = sa.select(DataKey).where(DataKey.master_version != self._newest).limit(_BATCH).with_for_update(skip_locked=True)
        keys = (await session.scalars(stale)).all()
        for key in keys:
            key.wrapped = self._wrap(self._unwrap(key), key.account_id)
            key.master_version = self._newest
            key.rotated_at = sa.func.now()
        return len(keys)

    async def _data_key(self, unit: Unit) -> AESGCM:
        known = self._data_keys.get(unit.account_id)
        if known is not None:
            return known
        row, is_committed = await self._load_or_make(unit)
        key = AESGCM(self._unwrap(row))
        # A key that this very transaction makes is gone if it fails: what is sealed with it later could never be opened.
        if is_committed:
            self._data_keys[unit.account_id] = key
        return key

    async def _load_or_make(self, unit: Unit) -> tuple[DataKey, bool]:
        """The account's data key, and whether it was there before this transaction began."""
        stored = sa.select(DataKey, DataKey.rotated_at < sa.func.now()).where(DataKey.account_id == unit.account_id)
        found = (await unit.session.execute(stored)).one_or_none()
        if found is None:
            wrapped = self._wrap(os.urandom(_KEY), unit.account_id)
            fresh = insert(DataKey).values(account_id=unit.account_id, master_version=self._newest, wrapped=wrapped)
            await unit.session.execute(fresh.on_conflict_do_nothing())
            found = (await unit.session.execute(stored)).one()
        return found[0], found[1]

    def _wrap(self, key: bytes, account_id: UUID) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._masters[self._newest].encrypt(nonce, key, _bound_to(account_id, "data key"))

    def _unwrap(self, row: DataKey) -> bytes:
        master = self._masters.get(row.master_version)
        if master is None:
            raise Unsealable(f"Master key version {row.master_version} is not in MASTER_KEYS.")
        try:
            return master.decrypt(row.wrapped[:_NONCE], row.wrapped[_NONCE:], _bound_to(row.account_id, "data key"))
        except InvalidTag:
            raise Unsealable("A data key does not open with its master key.") from None


async def rotate_all(settings: Settings) -> int:
    """Wrap every account's data key with the newest master key; returns how many were wrapped anew. Safe to repeat."""
    vault = Vault(settings.master_keys)
    database = Database(settings.database_url, pool_size=1)
    wrapped = 0
    try:
        while True:
            async with database.system_across_accounts() as session:
                done = await vault.rotate(session)
            wrapped += done
            if done == 0:
                return wrapped
    finally:
        await database.close()


def _decode(key: SecretStr) -> bytes:
    raw = base64.b64decode(key.get_secret_value())
    if len(raw) != _KEY:
        raise ValueError("a master key is 32 bytes in base64")
    return raw


def _bound_to(account_id: UUID, purpose: str) -> bytes:
    return f"{account_id}:{purpose}".encode()
