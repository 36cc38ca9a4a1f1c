"""Accounts and the people in them."""

import asyncio
from uuid import UUID

import email_validator
import sqlalchemy as sa
from argon2 import PasswordHasher
from sqlalchemy.dialects.postgresql import insert

from db.base import new_id
from db.models.queues import AccountSlots
from db.models.tenancy import Account, ApiKey, Role, Session, User
from db.session import Database
from domain import actor as actors
from domain.actor import ROLE_SCOPES, Scope
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.paging import Order, Page, Window, paginate
from domain.tenancy import api_keys
from domain.unit import Unit

MIN_PASSWORD = 12
HASHER = PasswordHasher()
NEWEST_USERS = Order((User.created_at, User.id), descending=True)
_RANK = {Role.OWNER: 3, Role.ADMIN: 2, Role.MEMBER: 1, Role.SUPPORT: 1, Role.VIEWER: 0}


class EmailTaken(Conflict):
    """Another user signs in with this e-mail address."""

    code = "API-020"


async def create_account(
    database: Database, *, name: str, owner_name: str, email: str, password: str, is_staff: bool = False
) -> tuple[Account, User]:
    """A new account with its first user: its owner, or for a staff account a support person. Raises Invalid, EmailTaken."""
    account_id = new_id()
    async with database.account(account_id) as session:
        account = Account(id=account_id, name=name, is_staff=is_staff)
        session.add(account)
        await session.flush()
        session.add(AccountSlots(account_id=account_id))
        role = Role.SUPPORT if is_staff else Role.OWNER
        user = await _insert_user(Unit(session, actors.system(account_id)), email, owner_name, role, password)
    return account, user


async def create_from_command_line(
    database_url: str, *, name: str, owner_name: str, email: str, password: str, is_staff: bool
) -> Account:
    """As `create_account`, with a connection of its own."""
    database = Database(database_url, pool_size=1)
    try:
        account, _ = await create_account(
            database, name=name, owner_name=owner_name, email=email, password=password, is_staff=is_staff
        )
    finally:
        await database.close()
    return account


async def create_user(unit: Unit, *, email: str, name: str, role: Role, password: str) -> User:
    """Add a person to the unit's account. Raises Forbidden, Invalid, EmailTaken."""
    unit.require(Scope.MEMBERS_WRITE)
    _require_assignable(unit, role)
    user = await _insert_user(unit, email, name, role, password)
    unit.audit("user.create", subject_type="user", subject_id=user.id, role=role)
    return user


async def update_user(
    unit: Unit, *, user_id: UUID, expected_version: int, role: Role | None = None, disabled: bool | None = None
) -> tuple[User, list[ApiKey]]:
    """Change a person's role, or shut a person out, which ends all their sessions and revokes the API keys that they made.

    Returns the person and the keys that were revoked. Raises Forbidden, Invalid, NotFound, StaleVersion.
    """
    unit.require(Scope.MEMBERS_WRITE)
    user = (await unit.session.scalars(sa.select(User).where(User.id == user_id).with_for_update())).one_or_none()
    if user is None:
        raise NotFound("There is no such user.")
    if user.version != expected_version:
        raise StaleVersion("The user was changed meanwhile.", field=("expectedVersion",), current=user)
    if user.id == unit.actor.id:
        raise Forbidden("You cannot change your own role or shut yourself out.")
    _require_rank(unit, user.role)
    before = {"role": user.role, "disabled": user.disabled_at is not None}
    revoked: list[ApiKey] = []
    if role is not None:
        _require_assignable(unit, role)
        user.role = role
    if disabled is not None:
        user.disabled_at = sa.func.now() if disabled else None
    if disabled:
        await unit.session.flush()  # from here on the person makes no more keys
        await _end_sessions(unit, user.id)
        revoked = await api_keys.revoke_made_by(unit, user_id=user.id)
    user.version += 1
    await unit.session.flush()
    await unit.session.refresh(user)
    unit.audit("user.update", subject_type="user", subject_id=user.id, before=before, role=user.role, disabled=disabled)
    return user, revoked


async def users_page(unit: Unit, *, window: Window) -> Page[User]:
    """The account's people, newest first."""
    unit.require(Scope.MEMBERS_READ)
    return await paginate(unit.session, sa.select(User), order=NEWEST_USERS, window=window)


async def get_account(unit: Unit) -> Account:
    """The unit's own account."""
    return (await unit.session.scalars(sa.select(Account))).one()


async def get_user(unit: Unit, user_id: UUID) -> User | None:
    """A person of the account."""
    return (await unit.session.scalars(sa.select(User).where(User.id == user_id))).one_or_none()


class StaleVersion(Conflict):
    """The row was changed since the client read it; `expectedVersion` no longer holds. `current` is the row as it is now."""

    code = "API-009"

    def __init__(self, message: str, *, field: tuple[str, ...] | None = None, current: object = None) -> None:
        super().__init__(message, field=field)
        self.current = current


async def _end_sessions(unit: Unit, user_id: UUID) -> None:
    live = sa.update(Session).where(Session.user_id == user_id, Session.revoked_at.is_(None))
    ended = live.values(revoked_at=sa.func.now()).returning(Session.id).execution_options(synchronize_session=False)
    for session_id in (await unit.session.scalars(ended)).all():
        unit.changed("credential", session_id)
        unit.audit("session.end", subject_type="session", subject_id=session_id, why="shut out")


def parse_email(text: str, *, field: tuple[str, ...] = ("email",)) -> str:
    """The address in lower case. Raises Invalid."""
    try:
        return email_validator.validate_email(text, check_deliverability=False).normalized.lower()
    except email_validator.EmailNotValidError as error:
        raise Invalid(f"This is not an e-mail address: {error}", field=field) from None


def _require_rank(unit: Unit, role: Role) -> None:
    """Nobody makes, changes or shuts out somebody above themselves. An API key, whoever made it, stands below owners."""
    if _RANK[unit.actor.role or Role.ADMIN] < _RANK[role]:
        raise Forbidden(f"Only an owner may do this to somebody with the role {role.value}.")


def _require_assignable(unit: Unit, role: Role) -> None:
    _require_rank(unit, role)
    if role is Role.SUPPORT:
        raise Invalid("Support staff belong to a staff account.", field=("role",))
    if not ROLE_SCOPES[role] <= unit.actor.scopes:
        raise Forbidden("Nobody can give away permissions that they do not have.")


async def _insert_user(unit: Unit, email: str, name: str, role: Role, password: str) -> User:
    if len(password) < MIN_PASSWORD:
        raise Invalid(f"A password has at least {MIN_PASSWORD} characters.", field=("password",))
    if not name.strip():
        raise Invalid("A name is needed.", field=("name",))
    values = {
        "id": new_id(),
        "account_id": unit.account_id,
        "email": parse_email(email),
        "name": name.strip(),
        "role": role,
        "password_hash": await asyncio.to_thread(HASHER.hash, password),
    }
    row = insert(User).values(values).on_conflict_do_nothing(index_elements=[User.email]).returning(User)
    user = (await unit.session.scalars(row)).one_or_none()
    if user is None:
        raise EmailTaken("Somebody signs in with this e-mail address already.", field=("email",))
    return user
