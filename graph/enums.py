"""The domain's closed vocabularies, as clients see them: a name where the domain's differs, and a sentence for each value.

Types take them from here: strawberry shows an enum as it finds it when it first sees it.
"""

from db.models.crm.connections import ConnectionStatus, LocationStatus
from db.models.crm.contacts import ContactSource, ContactSyncState
from db.models.crm.syncs import ConflictPolicy, SyncDirection
from db.models.jobs import AttemptOutcome, Attention, JobState, Lane, LogLevel
from db.models.notifications import Channel as NotificationChannel
from db.models.notifications import DeliveryState, NotificationEvent, SlackStatus
from db.models.queues import DependencyPolicy
from db.models.recovery import EffectState, ItemState
from db.models.tenancy import AccessOutcome, ActorType, Role
from db.models.webhooks import WebhookDeliveryState
from domain.actor import Scope
from domain.crm.contacts.queries import ContactOrder
from domain.jobs.options import RecoveryOption
from domain.jobs.priority import JobPriority
from domain.jobs.queries import JobOrder, StatusGroup
from domain.jobs.updates import UpdateKind
from domain.webhooks.events import WebhookEvent
from graph.vocabulary import show as _show

__all__ = [
    "AccessOutcome",
    "ActorType",
    "AttemptOutcome",
    "Attention",
    "ConflictPolicy",
    "ConnectionStatus",
    "ContactOrder",
    "ContactSource",
    "ContactSyncState",
    "DeliveryState",
    "DependencyPolicy",
    "EffectState",
    "ItemState",
    "JobOrder",
    "JobPriority",
    "JobState",
    "Lane",
    "LocationStatus",
    "LogLevel",
    "NotificationChannel",
    "NotificationEvent",
    "RecoveryOption",
    "Role",
    "Scope",
    "SlackStatus",
    "StatusGroup",
    "SyncDirection",
    "UpdateKind",
    "WebhookDeliveryState",
    "WebhookEvent",
]


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
    WAITING="It cannot go on without a person, or before another job has ended.",
    SNOOZED="It goes on later, such as when an outside system limits our rate; costs no retry.",
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
_show(
    Attention,
    "What support and the customer agreed on about a job.",
    REQUIRES_ACTION="The customer has to do something; a note says what.",
    RESOLVED="Nothing has to be done any more.",
)
_show(
    ItemState,
    "How one item of a job stands.",
    PENDING="It is still to be done.",
    DONE="It is done.",
    FAILED="It failed; a retry of the job does it again.",
)
_show(
    EffectState,
    "Whether something outside happened.",
    INTENDED="It was begun.",
    DONE="It happened.",
    UNKNOWN="Nobody can tell; a person finds out and says so with settleJobEffect.",
)
_show(
    RecoveryOption,
    "A way on for a job that did not do what it was asked for.",
    RETRY="retryJob: from its last checkpoint.",
    RETRY_FAILED="retryJob with `onlyFailed`: its failed items alone.",
    REAUTHORIZE="Connect the integration again; then retry, unless the job goes on by itself.",
    ACCEPT_CHANGES="retryJob with `acceptChanges`: from the beginning, by what was changed since.",
    SETTLE_EFFECT="Find out whether it happened outside, and say so with settleJobEffect; then retry.",
    RENEW="Renew the account's subscription; the job then goes on by itself.",
    ASK_AGAIN="Ask for the same work anew.",
    CONTACT_SUPPORT="Let support look at it.",
    ARCHIVE="Give it up, and leave it out of lists: archiveJob.",
)
_show(
    JobOrder,
    "How jobs are sorted.",
    NEWEST="Those asked for last come first.",
    OLDEST="Those asked for first come first.",
    FINISHED="Those that ended last come first; only those that have ended.",
)
_show(
    StatusGroup,
    "Where a job stands, as a dashboard's tabs say it. Each job is in exactly one.",
    name="JobStatusGroup",
    ACTIVE="ADMITTED, RUNNING or CANCELLING: it holds a slot.",
    QUEUED="READY, and not paused: it waits for a slot.",
    BLOCKED="BLOCKED, and not paused: it waits for another job.",
    SCHEDULED="SCHEDULED, and not paused.",
    RETRYING="BACKOFF, and not paused.",
    WAITING="WAITING for somebody, and not paused.",
    PAUSED="Paused, and without a slot.",
    COMPLETED="SUCCEEDED or PARTIAL.",
    FAILED="FAILED.",
    CANCELLED="CANCELLED or SKIPPED.",
)
_show(
    JobPriority,
    "How soon a job starts: a higher level comes first at the next admission; what runs already is left to run.",
    LOW="After all else.",
    NORMAL="In the order of asking.",
    HIGH="Before what is normal.",
    URGENT="Before all but what was boosted.",
)
_show(
    DependencyPolicy,
    "What the end of a job means for one that follows it.",
    SUCCEEDED="It follows success only; after another end it is skipped.",
    ENDED="It follows however that one ended.",
)
_show(
    UpdateKind,
    "What a subscription tells.",
    SNAPSHOT="How it is now.",
    CHANGED="What happened next.",
    RESYNC="How it is now, since the history that was asked for is gone.",
    DELETED="It is gone; nothing more follows.",
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
_show(
    WebhookEvent,
    "What a webhook endpoint can be told of. In what is sent, JOB_COMPLETED is written job.completed, and so on.",
    name="WebhookEventType",
    JOB_COMPLETED="A job did all that was asked.",
    JOB_PARTIAL="A job did a part of it.",
    JOB_FAILED="A job failed for good.",
    JOB_CANCELLED="A job was stopped.",
    JOB_WAITING="A job cannot go on without a person.",
    JOB_RETRYING="An attempt failed, and another one follows by itself.",
)
_show(
    WebhookDeliveryState,
    "How a delivery stands.",
    PENDING="It is on its way, or waits for its next attempt.",
    DELIVERED="The endpoint answered 2xx.",
    FAILED="All attempts were spent, or the endpoint was disabled.",
)
_show(
    NotificationEvent,
    "What a person can be told of.",
    JOB_COMPLETED="A job did all that was asked. By default in the app.",
    JOB_FIRST_FAILURE="A job's first attempt failed; another follows. By default in the app and on the default channel.",
    JOB_FAILED="A job failed for good. Critical; by default in the app and on the default channel.",
    JOB_PARTIAL="A job did a part of what was asked. By default in the app and on the default channel.",
    JOB_WAITING="A job waits for a person. By default in the app and on the default channel.",
    JOB_CANCELLED="A job was cancelled. By default in the app.",
    REQUIRES_ACTION="Support asks for something. By default in the app and on the default channel.",
    NOTE_ADDED="Somebody wrote a note about a job. By default in the app.",
    SCHEDULE_DISABLED="A schedule does not run any more. By default in the app and on the default channel.",
    INTEGRATION_DISCONNECTED="An integration is not connected any more. Critical; in the app and on the default channel.",
)
_show(
    NotificationChannel,
    "Where a person is told.",
    name="NotificationChannel",
    IN_APP="In the app.",
    EMAIL="By e-mail, to the address that the person signs in with.",
    SLACK="In the account's Slack channel; by e-mail where none is connected.",
)
_show(
    DeliveryState,
    "How a message outside stands.",
    name="NotificationDeliveryState",
    QUEUED="It is sent as soon as it is due.",
    SENDING="It is being sent.",
    DELIVERED="It was handed over.",
    FAILED="It was given up.",
)
_show(
    SlackStatus,
    "Whether the account's Slack channel takes messages.",
    CONNECTED="It does.",
    DISCONNECTED="It does not: it was disconnected here, or Slack takes no more for its webhook.",
)
