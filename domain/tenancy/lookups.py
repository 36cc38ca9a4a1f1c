"""People, keys and grants by their ids, for whoever shows a reference to one."""

from db.models.tenancy import ApiKey, SupportGrant, User
from domain.actor import Scope
from domain.lookups import by_ids

users = by_ids(User, scope=Scope.MEMBERS_READ)
api_keys = by_ids(ApiKey, scope=Scope.MEMBERS_READ)
support_grants = by_ids(SupportGrant, scope=Scope.LOGS_READ)
