"""Accounts with people in them, each signed in."""

from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from db.models.tenancy import Account, User
from graph import ids
from tests.factories.client import Client
from tests.factories.house import PASSWORD, House

CREATE_USER = """mutation ($input: CreateUserInput!) { createUser(input: $input) {
  user { id email role version } userErrors { code message field } } }"""
SIGN_IN = """mutation ($input: SignInInput!) { signIn(input: $input) {
  accessToken accessExpiresAt refreshToken
  userErrors { __typename code message ... on RateLimitedError { retryAfterSeconds } } } }"""
_numbers = count(1)


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in."""

    client: Client
    account_id: UUID
    user_id: UUID
    email: str

    @property
    def account_gid(self) -> str:
        """The account's global id, for X-Account."""
        return ids.encode("account", self.account_id)

    @property
    def gid(self) -> str:
        """The user's global id."""
        return ids.encode("user", self.user_id)

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """Ask as this person. Raises GraphQLFailed."""
        return await self.client.ask(document, **variables)


async def new_owner(house: House, *, is_staff: bool = False) -> Person:
    """The owner of a new account; of a staff account, a support person."""
    account, user = await house.account(f"Agency {next(_numbers)}", is_staff=is_staff)
    return await _signed_in(house, account, user)


async def add_person(house: House, owner: Person, role: str) -> Person:
    """Somebody whom the owner adds."""
    email = f"person-{next(_numbers)}@agency.example"
    given = {"email": email, "name": f"The {role.lower()}", "role": role, "password": PASSWORD}
    payload = (await owner.ask(CREATE_USER, input=given))["createUser"]
    assert payload["userErrors"] == [], payload["userErrors"]
    async with house.runtime.database.system_across_accounts() as session:
        user = (await session.scalars(sa.select(User).where(User.email == email))).one()
    return Person(await house.client_of(user), owner.account_id, user.id, email)


async def sign_in(house: House, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """What `signIn` answers."""
    session: dict[str, Any] = (await Client(house.http).ask(SIGN_IN, input={"email": email, "password": password}))["signIn"]
    return session


async def _signed_in(house: House, account: Account, user: User) -> Person:
    return Person(await house.client_of(user), account.id, user.id, user.email)
