"""graphql-sse in its distinct connections mode: one request, one stream of server-sent events.

Lines end in LF. The specification of server-sent events allows CRLF, but clients are written that split on two LFs.
"""

from typing import Final

from graph.transports.streaming import Framing

EVENTS: Final = Framing(
    content_type=b"text/event-stream; charset=utf-8",
    opening=b":\n\n",  # sends the headers on their way before the first event
    answer=lambda answer: b"event: next\ndata: " + answer + b"\n\n",
    failure=lambda errors: b'event: next\ndata: {"errors":' + errors + b"}\n\n",
    heartbeat=b":\n\n",
    ending=b"event: complete\ndata:\n\n",
)
