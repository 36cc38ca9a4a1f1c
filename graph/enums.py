"""The domain's closed vocabularies, as clients see them: a name where the domain's differs, and a sentence for each value.

Types take them from here: strawberry shows an enum as it finds it when it first sees it.
"""

from enum import StrEnum

import strawberry

from db.models.crm.connections import ConnectionStatus, LocationStatus
from db.models.crm.contacts import ContactSource, ContactSyncState
from db.models.crm.syncs import ConflictPolicy, SyncDirection
from db.models.jobs import AttemptOutcome, JobState, Lane, LogLevel
from db.models.tenancy import AccessOutcome, ActorType, Role
from domain.actor import Scope
from domain.crm.contacts.queries import ContactOrder
from domain.jobs.feeds import UpdateKind
from domain.jobs.queries import JobOrder

__all__ = [
    "AccessOutcome",
    "ActorType",
    "AttemptOutcome",
    "ConflictPolicy",
    "ConnectionStatus",
    "ContactOrder",
    "ContactSource",
    "ContactSyncState",
    "JobOrder",
    "JobState",
    "Lane",
    "LocationStatus",
    "LogLevel",
    "Role",
    "Scope",
    "SyncDirection",
    "UpdateKind",
]


def _show(enum: type[StrEnum], description: str, *, name: str | None = None, **values: str) -> None:
    strawberry.enum(enum, name=name, description=description)
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]  # strawberry puts it there
        value.description = values[value.name]


_show(
    Role,
    "What a user may do.",
    OWNER="Everything.",
    ADMIN="Everything, but not to owners.",
    MEMBER="Works with contacts and jobs, and sees who else is there.",
    SUPPORT="Of the platform's own staff: acts in other accounts by their grant only.",
    VIEWER="Sees contacts, jobs and connections.",
)
_show(
    Scope,
    "One permission. Roles are sets of them; an API key has its own.",
    JOBS_READ="See jobs.",
    JOBS_WRITE="Cancel, retry, pause, boost and archive jobs, and write notes.",
    CONTACTS_READ="See contacts and syncs.",
    CONTACTS_WRITE="Make and change contacts, start syncs.",
    CONNECTIONS_READ="See agencies and sub-accounts.",
    CONNECTIONS_WRITE="Connect, test and disconnect agencies, choose sub-accounts.",
    MEMBERS_READ="See people and API keys.",
    MEMBERS_WRITE="Manage people, API keys and support grants.",
    LOGS_READ="Read the access log and the audit log.",
    WORKFLOWS_READ="See workflows and schedules.",
    WORKFLOWS_WRITE="Make, change and run workflows and schedules.",
    SETTINGS_WRITE="Decide slots, retries and priorities for the whole account; connect Slack; manage webhooks.",
)
_show(
    ActorType,
    "What kind of actor it is.",
    USER="A person of the account.",
    API_KEY="A program.",
    SUPPORT="A person of the platform's staff, by the account's grant.",
    VENDOR_WEBHOOK="An outside system.",
    SYSTEM="The product itself.",
)
_show(
    AccessOutcome,
    "How an access ended.",
    ALLOWED="It was let in.",
    DENIED="It was refused.",
)
_show(
    JobState,
    "Where a job stands. The last five are ends.",
    BLOCKED="Waits for other jobs.",
    SCHEDULED="Starts at a time to come.",
    READY="Starts as soon as a slot is free.",
    ADMITTED="Has a slot and is on its way to a worker.",
    RUNNING="A worker has it.",
    BACKOFF="An attempt failed; the next one comes by itself.",
    WAITING="Needs a person, such as somebody who connects an agency again.",
    CANCELLING="Stops at its next checkpoint.",
    SUCCEEDED="Did all that was asked.",
    PARTIAL="Did a part of it; a retry does the rest.",
    FAILED="Did not do it, and does not try again by itself.",
    CANCELLED="Was stopped by somebody.",
    SKIPPED="Was not needed any more.",
)
_show(
    Lane,
    "The class of workers that runs a job.",
    INTERACTIVE="What a person waits for.",
    BULK="Long work: syncs, exports.",
    CALLS="Voice calls.",
)
_show(
    AttemptOutcome,
    "How an attempt ended.",
    SUCCEEDED="It did all that was asked.",
    PARTIAL="It did a part of it.",
    FAILED="It met an error.",
    CANCELLED="It was stopped.",
    WAITING="It cannot go on without a person.",
    SNOOZED="An outside system limits our rate; costs no retry.",
    HANDED_BACK="Its worker stopped or the job was paused; costs no retry.",
    LOST="Its worker fell silent.",
)
_show(
    LogLevel,
    "How much a log line matters.",
    INFO="Good to know.",
    WARNING="Something was left out.",
    ERROR="Something failed.",
)
_show(JobOrder, "How jobs are sorted.", NEWEST="Those asked for last come first.", OLDEST="Those asked for first come first.")
_show(
    UpdateKind,
    "What a subscription tells.",
    SNAPSHOT="How it is now.",
    CHANGED="What happened next.",
    RESYNC="How it is now, since the history that was asked for is gone.",
)
_show(
    ConnectionStatus,
    "Whether an agency's data can be reached.",
    name="GhlAccountStatus",
    ACTIVE="It can.",
    REAUTHORIZATION_REQUIRED="GoHighLevel no longer accepts the authorisation: connect it again.",
    SUSPENDED="It is suspended at GoHighLevel.",
    DISCONNECTED="It was disconnected here.",
)
_show(
    LocationStatus,
    "Whether a sub-account is synced.",
    name="GhlLocationStatus",
    AVAILABLE="It is not chosen for syncing.",
    ACTIVE="It is chosen for syncing.",
    REMOVED="GoHighLevel lists it no longer.",
)
_show(
    SyncDirection,
    "Which side a sync writes.",
    GHL_TO_BB="Ours.",
    BB_TO_GHL="GoHighLevel's.",
    BIDIRECTIONAL="Both.",
)
_show(
    ConflictPolicy,
    "Whose value stays when both sides changed the same field since the last sync.",
    GHL_WINS="GoHighLevel's.",
    BB_WINS="Ours.",
    MOST_RECENT_WINS="That of the side that was changed last.",
)
_show(
    ContactSource,
    "Where a contact was first known.",
    GHL="At GoHighLevel.",
    BB="Here.",
)
_show(
    ContactSyncState,
    "Whether both sides have the same.",
    LOCAL="It is only here.",
    SYNCED="It is the same on both sides.",
    PENDING="It was changed here since.",
    REMOTE_DELETED="It is gone at GoHighLevel and kept here.",
)
_show(ContactOrder, "How contacts are sorted.", NEWEST="Those that came last come first.", NAME="By name.")
