"""E-mail and Slack as outlets of the delivering loop."""

from functools import partial

from db.models.notifications import Channel
from domain.notifications.outbox import Claimed
from domain.runtime import Runtime
from jobs.deliveries import Outlet

_MAILS = 8  # connections to the mail server at once, in one process
_SLACK_MESSAGES = 4


def outlets(runtime: Runtime) -> tuple[Outlet[Claimed], Outlet[Claimed]]:
    """Two, so that a mail server that hangs does not hold up Slack."""
    outbox = runtime.outbox
    return (
        Outlet("mail", _MAILS, partial(outbox.claim, Channel.EMAIL), outbox.send),
        Outlet("slack", _SLACK_MESSAGES, partial(outbox.claim, Channel.SLACK), outbox.send),
    )
