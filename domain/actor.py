"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from db.models.tenancy import ActorType, Role
from domain.errors import Forbidden


class Scope(StrEnum):
    """One permission. Roles are sets of them; an API key has those it was made with."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    CONTACTS_READ = "contacts:read"
    CONTACTS_WRITE = "contacts:write"
    CONNECTIONS_READ = "connections:read"
    CONNECTIONS_WRITE = "connections:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    LOGS_READ = "logs:read"
    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_WRITE = "workflows:write"
    SETTINGS_WRITE = "settings:write"


_READ = frozenset({Scope.JOBS_READ, Scope.CONTACTS_READ, Scope.CONNECTIONS_READ, Scope.WORKFLOWS_READ})
_WORK = _READ | {Scope.JOBS_WRITE, Scope.CONTACTS_WRITE, Scope.WORKFLOWS_WRITE}
_MANAGE = _WORK | {
    Scope.CONNECTIONS_WRITE,
    Scope.MEMBERS_READ,
    Scope.MEMBERS_WRITE,
    Scope.LOGS_READ,
    Scope.SETTINGS_WRITE,
}

ROLE_SCOPES: dict[Role, frozenset[Scope]] = {
    Role.OWNER: _MANAGE,
    Role.ADMIN: _MANAGE,
    Role.MEMBER: _WORK | {Scope.MEMBERS_READ},
    Role.SUPPORT: _READ | {Scope.JOBS_WRITE, Scope.LOGS_READ},
    Role.VIEWER: _READ,
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever asks, acting in `account_id`. `id` is the user's or the API key's; None for the system and for vendors."""

    type: ActorType
    account_id: UUID
    name: str
    scopes: frozenset[Scope]
    id: UUID | None = None
    role: Role | None = None
    session_id: UUID | None = None
    request_id: str = "-"
    ip: str | None = None

    def require(self, scope: Scope) -> None:
        """Raises Forbidden unless the actor has `scope`."""
        if scope not in self.scopes:
            raise Forbidden(f"This needs the permission {scope.value}.")


def system(account_id: UUID, *, name: str = "Bottleneck-Bots", request_id: str = "-") -> Actor:
    """The product itself, at work for `account_id`."""
    return Actor(ActorType.SYSTEM, account_id, name, frozenset(Scope), request_id=request_id)
