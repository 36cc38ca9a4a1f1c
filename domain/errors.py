"""Every failure the domain can name.

    DomainError
    ├── Invalid            the input is wrong; `field` says where
    ├── NotFound           no such row, or it is another account's
    ├── Forbidden          the actor may not do this
    ├── Unauthenticated    nobody is asking
    ├── Conflict           the row is not in the state the request assumes
    ├── LimitReached       a quota of ours is used up
    └── VendorFailed       an outside system
        ├── VendorBusy         rate limited; `retry_after` seconds
        ├── VendorDown         unreachable, timed out, 5xx: worth another attempt
        ├── VendorRefused      4xx: final
        └── VendorUnauthorized the stored credential is no longer accepted

They know no HTTP status of ours and no GraphQL. They are mapped in three places: a vendor's answer becomes one in
`domain/vendors/http.py`; one becomes a GraphQL error in `graph/errors.py`, or a job's outcome in `jobs/runner.py`.
Narrower leaves live where they are raised.
"""

from typing import ClassVar


class DomainError(Exception):
    """A failure with a stable `code`, a `message` fit for a user, and the input `field` it concerns, if any."""

    code: ClassVar[str] = "API-001"

    def __init__(self, message: str, *, field: tuple[str, ...] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Invalid(DomainError):
    """The input is wrong; `field` is the path to it."""

    code = "API-002"


class NotFound(DomainError):
    """There is no such row for this account."""

    code = "API-003"


class Forbidden(DomainError):
    """The actor's role or scopes do not allow this."""

    code = "API-004"


class Unauthenticated(DomainError):
    """The request carries no credential, or one that is no longer valid."""

    code = "API-005"


class Conflict(DomainError):
    """The row is not in the state that the request assumes."""

    code = "API-006"


class LimitReached(DomainError):
    """A quota of ours is used up; `retry_after` is in seconds, None where waiting does not help."""

    code = "API-007"

    def __init__(self, message: str, *, retry_after: float | None = None, field: tuple[str, ...] | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after


class VendorFailed(DomainError):
    """An outside system failed; `status` is its HTTP status, None where no answer came."""

    code = "API-010"

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class VendorBusy(VendorFailed):
    """The vendor limits our rate; try again after `retry_after` seconds."""

    code = "API-011"

    def __init__(self, message: str, *, retry_after: float, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class VendorDown(VendorFailed):
    """No answer, or a 5xx: another attempt may succeed."""

    code = "API-012"


class VendorRefused(VendorFailed):
    """The vendor understood and said no (4xx): the same request will fail again."""

    code = "API-013"


class VendorUnauthorized(VendorFailed):
    """The stored credential is expired beyond refresh or was revoked: a person must authorise again.

    A job that meets it waits for `waiting_for`, the key under which whoever mends it wakes such jobs.
    """

    code = "API-014"
    waiting_for: str | None = None
