"""How a failure leaves by GraphQL: always with `extensions.code` out of `ERRORS`, never with anything of our inside.

A DomainError keeps its code, message and field. What graphql-core says about the client's document or input keeps its
message. Everything else is masked, and logged with the id that the client is given.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from graphql import FieldNode, GraphQLError
from strawberry.exceptions import StrawberryGraphQLError, StrawberryInputCoercionError

from domain.errors import DomainError, Forbidden, LimitReached, Unauthenticated, VendorBusy

log = structlog.get_logger(__name__)

MASKED: Final = "Something went wrong on our side."
MESSAGE_LENGTH: Final = 600  # a message may quote the client's input, which may be a megabyte
SUGGESTION: Final = " Did you mean "

INTERNAL: Final = "API-100"
BAD_REQUEST: Final = "API-101"
SYNTAX: Final = "API-102"
VALIDATION: Final = "API-103"
INPUT: Final = "API-104"
OPERATION: Final = "API-105"
TOO_COMPLEX: Final = "API-106"
TOO_COSTLY: Final = "API-107"
INTROSPECTION: Final = "API-108"
UNTRUSTED: Final = "API-109"
NO_PERSISTED: Final = "API-110"
METHOD: Final = "API-111"
TOO_LARGE: Final = "API-112"
CROSS_SITE: Final = "API-113"
NEEDS_STREAM: Final = "API-114"
TOO_MANY: Final = "API-115"
MEDIA_TYPE: Final = "API-116"
TIMEOUT: Final = "API-117"


STATUSES: Final[dict[type[DomainError], int]] = {Unauthenticated: 401, Forbidden: 403, LimitReached: 429}


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What a code means, and what the user or the client's developer does about it."""

    meaning: str
    action: str


ERRORS: Final[dict[str, ErrorCode]] = {
    "API-001": ErrorCode("The request failed for a reason given in the message.", "Read the message."),
    "API-002": ErrorCode("The input is wrong; `extensions.field` is the path to it.", "Correct the field and send again."),
    "API-003": ErrorCode("There is no such thing in this account.", "Reload; it may have been deleted."),
    "API-004": ErrorCode("Your role or key does not allow this.", "Ask an owner or admin of the account."),
    "API-005": ErrorCode("Nobody is signed in, or the credential expired or was revoked.", "Refresh the token or sign in."),
    "API-006": ErrorCode("The thing is not in the state that the request assumes.", "Reload it and decide again."),
    "API-007": ErrorCode("A quota is used up.", "Wait `extensions.retryAfterSeconds`, or raise the quota."),
    "API-008": ErrorCode("The idempotency key was used with another input.", "Make a new key for a new request."),
    "API-009": ErrorCode("It was changed since you read it.", "Reload it, apply your change again and send its new version."),
    "API-010": ErrorCode("An outside system failed.", "Try again later; contact support if it stays."),
    "API-011": ErrorCode("An outside system limits our rate.", "Wait `extensions.retryAfterSeconds`."),
    "API-012": ErrorCode("An outside system does not answer.", "Try again in a few minutes."),
    "API-013": ErrorCode("An outside system refused the request.", "Change the request; the same one fails again."),
    "API-014": ErrorCode("An outside system no longer accepts its authorisation.", "Connect the integration again."),
    "API-020": ErrorCode("Somebody signs in with this e-mail address already.", "Use another address."),
    INTERNAL: ErrorCode("A fault of ours; it is logged.", "Try again; give `extensions.correlationId` to support."),
    BAD_REQUEST: ErrorCode("The HTTP request or WebSocket message is malformed.", "Correct the client."),
    SYNTAX: ErrorCode("The GraphQL document has a syntax error.", "Correct the document at `locations`."),
    VALIDATION: ErrorCode("The document does not fit the schema.", "Correct the document at `locations`."),
    INPUT: ErrorCode("A variable or argument does not fit its type.", "Correct the value that the message names."),
    OPERATION: ErrorCode("It is unclear which operation to run.", "Send an `operationName` that the document has."),
    TOO_COMPLEX: ErrorCode("The document exceeds a limit on its size or shape.", "Ask for less, or split the document."),
    TOO_COSTLY: ErrorCode("The operation costs more than one may.", "Ask for smaller pages or fewer nested lists."),
    INTROSPECTION: ErrorCode("You may not introspect the schema.", "Sign in, or use the published schema.graphql."),
    UNTRUSTED: ErrorCode("Only registered documents are run here, and this is none.", "Register the document and deploy."),
    NO_PERSISTED: ErrorCode("Automatic persisted queries are not supported.", "Send the whole document."),
    METHOD: ErrorCode("This HTTP method cannot do this.", "Use one of the header Allow."),
    TOO_LARGE: ErrorCode("The request is too large.", "Send less at once."),
    CROSS_SITE: ErrorCode("Another site's page sent this request.", "Add the page's origin to ALLOWED_ORIGINS."),
    NEEDS_STREAM: ErrorCode(
        "A subscription cannot be answered by one JSON body.",
        "Use graphql-transport-ws, or accept text/event-stream or multipart/mixed.",
    ),
    TOO_MANY: ErrorCode("Too many operations run on this socket.", "Complete some first, or open another socket."),
    MEDIA_TYPE: ErrorCode("We do not speak this media type.", "Send application/json; accept JSON or a stream."),
    TIMEOUT: ErrorCode("The request took too long to arrive.", "Send it again over a better connection."),
    "FIL-001": ErrorCode("The file has expired, or is not there any more.", "Ask for it to be made again."),
    "FIL-002": ErrorCode("The link to the file has expired.", "Ask for its `downloadUrl` again."),
    "BGJ-001": ErrorCode("The job took longer than it may.", "Retry it, or contact support."),
    "BGJ-002": ErrorCode("There are not enough credits.", "Purchase credits; the job then goes on by itself."),
    "BGJ-003": ErrorCode("An outside system limits our rate.", "Wait; the job goes on by itself."),
    "BGJ-010": ErrorCode("This release does not know such jobs.", "Nothing: the job waits for a release that does."),
    "BGJ-011": ErrorCode("The job's stored arguments cannot be read.", "Ask for the work again, or contact support."),
    "BGJ-012": ErrorCode("The worker that ran the job fell silent.", "Nothing, if it goes on by itself; else retry it."),
    "BGJ-020": ErrorCode(
        "The job cannot be retried as it stands.", "Retry jobs that failed, were cancelled or succeeded in part."
    ),
    "BGJ-021": ErrorCode("The job has ended already and cannot be cancelled.", "Reload it."),
    "BGJ-022": ErrorCode("The job is too old to be retried: what it was asked for is not kept any more.", "Ask for it anew."),
    "BGJ-023": ErrorCode("The job's stored arguments are damaged.", "Ask for the work anew, or contact support."),
    "BGJ-024": ErrorCode("The account is suspended.", "Renew the subscription; jobs that wait then go on by themselves."),
    "BGJ-025": ErrorCode(
        "What the job works on was changed since it ended.", "Read `changes`; retry with `acceptChanges`, or ask for it anew."
    ),
    "BGJ-026": ErrorCode("What the job works on is not there any more.", "Connect it again, or archive the job."),
    "BGJ-027": ErrorCode("The job has no failed items.", "Retry it as a whole."),
    "BGJ-028": ErrorCode(
        "Something outside may have happened, and nobody can be asked.", "Find out, settle the effect, and retry the job."
    ),
    "BGJ-029": ErrorCode("Whether the effect happened is not in question.", "Reload the job."),
    "BGJ-030": ErrorCode("The job did what it was asked for; it needs nobody.", "Reload it."),
    "BGJ-031": ErrorCode("The job is not marked as resolved.", "Reload it."),
    "BGJ-032": ErrorCode("The job has not ended and cannot be archived.", "Cancel it first."),
    "BGJ-050": ErrorCode(
        "The job is not waiting: one that runs is not reordered, one that ended is not paused.", "Reload it, or cancel it."
    ),
    "BGJ-051": ErrorCode("An owner or admin has decided this; a member cannot change it.", "Ask an owner or admin."),
    "BGJ-052": ErrorCode("There are no jobs of this kind.", "Take a kind from `jobSettings`."),
    "BGJ-053": ErrorCode("The jobs would wait for each other for ever.", "Choose another job to wait for."),
    "BGJ-054": ErrorCode("The job that is to be waited for has ended otherwise already.", "Retry that job first."),
    "BGJ-055": ErrorCode("Another number of jobs fits now than you were shown.", "Look again, and confirm the new number."),
    "BGJ-056": ErrorCode("The job has started already and cannot be made to wait.", "Choose a job that has not started."),
    "NTF-001": ErrorCode("This is not the URL of an incoming webhook of Slack.", "Copy the URL from Slack's page once more."),
    "NTF-002": ErrorCode("Slack takes no more messages for this webhook.", "Make a new one in Slack and connect that."),
    "NTF-003": ErrorCode("Only people have notifications.", "Sign in as a person of the account."),
    "WHK-001": ErrorCode("Webhooks do not go to such a URL.", "Use an https URL of a public address."),
    "WHK-002": ErrorCode("Nothing is sent to a disabled webhook endpoint.", "Mend the receiver, then enable the endpoint."),
    "WHK-003": ErrorCode("The account has as many webhook endpoints as it may.", "Delete one that is not used any more."),
    "GHL-001": ErrorCode("GoHighLevel no longer accepts the authorisation.", "Connect the agency again."),
    "GHL-002": ErrorCode("There is no such sub-account, or it is not connected.", "Verify the account; refresh the list."),
    "GHL-003": ErrorCode("Both sides had changed the same field; the policy decided.", "Review the contact and resolve."),
    "GHL-010": ErrorCode("The authorization took too long, or its code is spent.", "Start to connect again."),
    "GHL-011": ErrorCode("The authorization was declined at GoHighLevel.", "Connect again and allow the access."),
    "GHL-020": ErrorCode("The sub-account's contacts are being synced already.", "Watch that sync, or cancel it first."),
    "GHL-021": ErrorCode("A contact cannot be used as it is and was skipped.", "Correct it at GoHighLevel and sync again."),
    "GHL-022": ErrorCode("A contact was deleted at GoHighLevel; it is kept here and marked.", "Delete it here, or keep it."),
    "GHL-023": ErrorCode("A contact could not be sent to GoHighLevel.", "Correct what the message names and sync again."),
    "WFL-001": ErrorCode("A step of the workflow cannot be carried out as it is given.", "Correct what `field` leads to."),
    "WFL-002": ErrorCode("The workflow was deleted.", "Choose another one, or make it anew."),
    "WFL-003": ErrorCode(
        "What a step of the workflow had started did not end well.",
        "Look at that job; then retry the run, which goes on there.",
    ),
    "SCH-001": ErrorCode("The cron text cannot be used; `part` names the field of it that is wrong.", "Correct that part."),
    "SCH-002": ErrorCode("There are no such times.", "Correct what `field` leads to."),
    "SCH-003": ErrorCode("There is no such time zone, or it names no place.", "Use an IANA name, such as America/New_York."),
    "SCH-004": ErrorCode("The moment has passed already.", "Choose one to come, or let it run now with ifPast: RUN_NOW."),
    "SCH-005": ErrorCode("The schedule was deleted.", "Make a new one."),
    "SCH-006": ErrorCode("The schedule is disabled: it has no workflow that it could run.", "Choose another workflow for it."),
    "SCH-007": ErrorCode(
        "Another schedule of the same workflow fires at the same time.", "Change one of them, if that is not meant."
    ),
}


class Refused(Exception):
    """A request that was not executed. `errors` are ready for the client; `status` is HTTP's, for whom it concerns."""

    def __init__(self, errors: list[dict[str, Any]], *, status: int = 400, retry_after: float | None = None) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors
        self.status = status
        self.retry_after = retry_after


def refuse(code: str, message: str, *, status: int = 400) -> Refused:
    """Build a Refused with one error."""
    return Refused([error_of(code, message)], status=status)


def error_of(code: str, message: str, **extensions: object) -> dict[str, Any]:
    """One formatted error without a place in the document."""
    return {"message": message[:MESSAGE_LENGTH], "extensions": {"code": code, **extensions}}


def request_errors(code: str, errors: Iterable[GraphQLError], *, suggestions: bool) -> Refused:
    """Build a Refused of what graphql-core says about the document or its variables."""
    return Refused([_formatted(error, code, _spoken(error, suggestions=suggestions)) for error in errors])


def execution_errors(errors: Iterable[GraphQLError], *, request_id: str, suggestions: bool) -> list[dict[str, Any]]:
    """Format what went wrong in resolvers; the unanticipated is masked and logged."""
    return [_execution_error(error, request_id=request_id, suggestions=suggestions) for error in errors]


def refusal_of(error: Exception, *, request_id: str) -> Refused:
    """Build a Refused of an exception raised before execution: a DomainError keeps its meaning, the rest is masked."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, DomainError):
        retry_after = error.retry_after if isinstance(error, LimitReached) else None
        status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 400)
        body = {"message": error.message, "extensions": _domain_extensions(error)}
        return Refused([body], status=status, retry_after=retry_after)
    return Refused([masked(error, request_id=request_id)], status=500)


def masked(error: BaseException, *, request_id: str, path: list[str | int] | None = None) -> dict[str, Any]:
    """Log a fault of ours with its trace, and return what the client may know of it."""
    log.error("graphql.failed", request_id=request_id, path=path, exc_info=error)
    return error_of(INTERNAL, MASKED, correlationId=request_id)


def _execution_error(error: GraphQLError, *, request_id: str, suggestions: bool) -> dict[str, Any]:
    cause = _root(error)
    if isinstance(cause, DomainError):
        return _formatted(error, cause.code, cause.message) | {"extensions": _domain_extensions(cause)}
    if isinstance(cause, GraphQLError):
        if isinstance(cause, StrawberryInputCoercionError) or _is_about_input(cause):
            return _formatted(error, INPUT, _spoken(cause, suggestions=suggestions))
        code = (cause.extensions or {}).get("code")
        if code in ERRORS:
            return _formatted(error, code, cause.message)
        if isinstance(cause, StrawberryGraphQLError):
            # A permission class of ours refused; its message is written for the user.
            return _formatted(error, "API-004", cause.message)
    return _formatted(error, INTERNAL, MASKED) | masked(cause, request_id=request_id, path=error.path)


def _root(error: BaseException) -> BaseException:
    while isinstance(error, GraphQLError) and error.original_error is not None:
        error = error.original_error
    return error


def _is_about_input(error: GraphQLError) -> bool:
    # graphql-core points at the argument or the value for wrong input, and at the field for a value that we returned.
    return bool(error.nodes) and not any(isinstance(node, FieldNode) for node in error.nodes or ())


def _spoken(error: GraphQLError, *, suggestions: bool) -> str:
    # Custom scalars and rules write hints of their own, which graphql-core's hide_suggestions does not reach.
    return error.message if suggestions else error.message.partition(SUGGESTION)[0]


def _domain_extensions(error: DomainError) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": error.code}
    if error.field:
        extensions["field"] = list(error.field)
    if isinstance(error, LimitReached | VendorBusy) and error.retry_after is not None:
        extensions["retryAfterSeconds"] = error.retry_after
    return extensions


def _formatted(error: GraphQLError, code: str, message: str) -> dict[str, Any]:
    formatted = error_of(code, message)
    if error.locations:
        formatted["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        formatted["path"] = list(error.path)
    return formatted
