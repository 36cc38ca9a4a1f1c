"""How often a sign-in may be tried, so that passwords are not guessed and nobody is locked out by somebody else's guesses."""

from datetime import timedelta
from ipaddress import IPv6Address, ip_address

import sqlalchemy as sa
from redis.asyncio import Redis

from db.models.tenancy import Session, User
from db.session import Database
from domain.errors import LimitReached
from domain.tenancy import budget
from domain.tenancy.budget import Budget
from domain.tenancy.sessions import Device

FROM_ONE_PLACE = Budget("sign-ins-from", limit=10, seconds=300)
FROM_ANYWHERE = Budget("sign-ins", limit=100, seconds=300)
_REMEMBERED = timedelta(days=90)
_NETWORK = 64  # bits: a household, which has all of the addresses behind them


async def allow(redis: Redis, database: Database, *, email: str, device: Device) -> None:
    """Count a try to sign in with an e-mail address. Raises LimitReached.

    From one client 10 in five minutes are allowed, whatever others do: they are counted by address and client. From all clients
    together it is 100, which many of them use up in concert only; whoever has signed in from a client in the last 90 days is
    let through from there even then.
    """
    email = email.strip().lower()
    place = _place(device.ip)
    # In this order: what one client tries beyond its own limit must not count against the others.
    await budget.spend(redis, FROM_ONE_PLACE, of=f"{email}:{place}")
    try:
        await budget.spend(redis, FROM_ANYWHERE, of=email)
    except LimitReached:
        if device.ip is None or not await _is_known(database, email, device.ip):
            raise


def _place(ip: str | None) -> str:
    try:
        address = ip_address((ip or "").partition("%")[0])
    except ValueError:
        return ip or "-"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(int(address) >> (address.max_prefixlen - _NETWORK))


async def _is_known(database: Database, email: str, ip: str) -> bool:
    known = (
        sa.select(Session.id)
        .join(User, User.id == Session.user_id)
        .where(User.email == email, Session.ip == ip, Session.created_at > sa.func.now() - _REMEMBERED)
        .limit(1)
    )
    async with database.system_across_accounts() as session:
        return await session.scalar(known) is not None
