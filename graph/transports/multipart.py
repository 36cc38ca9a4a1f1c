"""Subscriptions over multipart/mixed, in the protocol that Apollo's clients speak (subscriptionSpec 1.0).

Each part is followed by its boundary at once: a client knows that a part is complete only when it sees the next boundary.
"""

from typing import Final

from graph.transports.streaming import Framing


def _part(body: bytes) -> bytes:
    return b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + body + b"\r\n--graphql"


MULTIPART: Final = Framing(
    content_type=b'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0',
    opening=b"\r\n--graphql",
    answer=lambda answer: _part(b'{"payload":' + answer + b"}"),
    failure=lambda errors: _part(b'{"payload":null,"errors":' + errors + b"}"),
    heartbeat=_part(b"{}"),
    ending=b"--\r\n",
)
