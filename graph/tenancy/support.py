"""Support grants, the access log and the audit log."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from db.models import tenancy as models
from domain.tenancy import lookups, support
from graph import ids
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.enums import AccessOutcome, ActorType
from graph.node import Node, global_id, is_known, loads, stands_for
from graph.paging import After, Before, Connection, First, Last, Listing, window
from graph.user_errors import Payload, mutation

loads("grant", lookups.support_grants)

# Subjects of audit entries whose ids begin with another word than their own, spelt together.
_PREFIXES = {"connection": "ghlaccount", "support_grant": "grant"}


@strawberry.type(description="The account lets support staff in for a while.")
class SupportGrant(Node):
    id: strawberry.ID = global_id("grant")
    reason: str = about("Why, in the words of whoever granted it.")
    created_at: datetime = about("UTC.")
    expires_at: datetime = about("When it ends by itself. UTC.")
    revoked_at: datetime | None = about("When it was ended early; null if it was not. UTC.")

    is_type_of = stands_for(models.SupportGrant)


@strawberry.type(description="Somebody reached the account's data. Entries are never changed or removed.")
class AccessLogEntry:
    id: strawberry.ID = global_id("access")
    at: datetime = about("UTC.")
    actor_type: ActorType = about("What kind of actor it was.")
    actor_name: str = about("Its name then.")
    action: str = about("The root field that was asked for; `enter` where somebody was not let in at all.")
    resource: str = about("By which door.")
    outcome: AccessOutcome = about("Whether it was let in. A person who is refused again and again has one entry a minute.")
    reason: str | None = about("Why it was not let in; null where it was.")
    request_id: str = about("Found in the server's logs, too.")
    ip: str | None = about("The client's address, where it is known.")


@strawberry.type(description="Somebody changed something. Entries are never changed or removed.")
class AuditLogEntry:
    id: strawberry.ID = global_id("audit")
    at: datetime = about("UTC.")
    actor_type: ActorType = about("What kind of actor it was.")
    actor_name: str = about("Its name then.")
    action: str = about("What was done, such as job.cancel.")
    subject_type: str = about("What kind of thing it was done to, such as job or api_key.")
    details: JSON = about("What was set, and what it was before where that matters.")
    request_id: str = about("Found in the server's logs, too.")

    @resolved("The global id of what it was done to, for `node`; null where that is nothing that can be fetched.")
    def subject_id(root: strawberry.Parent[models.AuditLog]) -> strawberry.ID | None:
        """By the entry's subject type."""
        prefix = _PREFIXES.get(root.subject_type, root.subject_type.replace("_", ""))
        return strawberry.ID(ids.encode(prefix, root.subject_id)) if root.subject_id and is_known(prefix) else None


@strawberry.input(description="How long support staff may come in, and why.")
class GrantSupportAccessInput:
    reason: str = about("Shown in the logs.")
    minutes: int = about("1 to 10,080, a week.")


@strawberry.type(description="What came of a change to a support grant.")
class SupportGrantPayload(Payload):
    grant: SupportGrant | None = optional("As it is now; null when nothing was done.")


@strawberry.input(description="A grant to end at once.")
class RevokeSupportAccessInput:
    id: strawberry.ID = about("The grant.")


@strawberry.type
class SupportQuery:
    @resolved("Support grants, newest first, ended ones too. Needs logs:read.", Connection[SupportGrant] | None)
    async def support_grants(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """Of the account."""
        async with info.context.unit() as unit:
            return Listing(await support.grants_page(unit, window=window(first, after, last, before)))

    @resolved("Who reached the account's data, newest first. Needs logs:read.", Connection[AccessLogEntry] | None)
    async def access_log(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Listing:
        """Of the account."""
        async with info.context.unit() as unit:
            return Listing(await support.access_page(unit, window=window(first, after, last, before)))

    @resolved("Who changed what, newest first. Needs logs:read.", Connection[AuditLogEntry] | None)
    async def audit_log(
        self,
        info: Info,
        subject_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only of this thing.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        """Of the account."""
        subject = None if subject_id is None else ids.read_any(subject_id, field="subjectId")
        async with info.context.unit() as unit:
            return Listing(await support.audit_page(unit, window=window(first, after, last, before), subject_id=subject))


@strawberry.type
class SupportMutation:
    @mutation("Let support staff in for a while. Every use of it is in the access log. Needs members:write.")
    async def grant_support_access(
        self, info: Info, input: Annotated[GrantSupportAccessInput, strawberry.argument(description="The grant.")]
    ) -> SupportGrantPayload:
        async with info.context.unit() as unit:
            grant = await support.grant(unit, reason=input.reason, minutes=input.minutes)
        return SupportGrantPayload(grant=shown(grant))

    @mutation("Shut support staff out at once. Needs members:write.")
    async def revoke_support_access(
        self, info: Info, input: Annotated[RevokeSupportAccessInput, strawberry.argument(description="Which grant.")]
    ) -> SupportGrantPayload:
        async with info.context.unit() as unit:
            grant = await support.revoke(unit, grant_id=ids.read("grant", input.id, field="id"))
        return SupportGrantPayload(grant=shown(grant))
