"""Which media type a request has, and which one its answer gets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from graph.errors import BAD_REQUEST, MEDIA_TYPE, refuse

JSON: Final = "application/json"
RESPONSE: Final = "application/graphql-response+json"
EVENTS: Final = "text/event-stream"
MULTIPART: Final = "multipart/mixed"

MAX_RANGES: Final = 50


@dataclass(frozen=True, slots=True)
class Range:
    """One entry of Accept."""

    media: str
    quality: float
    order: int


def parse_accept(header: str | None) -> list[Range]:
    """The ranges that are accepted, best first; listed order decides among equals. No header accepts anything."""
    entries = (header or "*/*").split(",")[:MAX_RANGES]
    ranges = [Range(media, quality, order) for order, (media, quality) in enumerate(map(_range, entries)) if media]
    return sorted(ranges, key=lambda item: (-item.quality, item.order))


def for_answer(accepted: Sequence[Range]) -> str | None:
    """The media type for a single answer; None if there is no acceptable one.

    Clients list the streams for their subscriptions beside JSON on every request, so a stream is chosen only where it is
    preferred to both kinds of JSON.
    """
    best = max((item.quality for item in accepted), default=0.0)
    listed = {item.media for item in accepted if item.quality == best > 0}
    for media in (RESPONSE, JSON):
        if media in listed:
            return media
    if listed & {"*/*", "application/*"}:
        return JSON if _refuses(accepted, JSON) is False else RESPONSE
    for media in (EVENTS, MULTIPART):
        if media in listed:
            return media
    rest = [item for item in accepted if item.quality != best]
    return for_answer(rest) if rest else None


def for_stream(accepted: Iterable[Range]) -> str | None:
    """The media type for a subscription; None if no stream is listed. A wildcard does not ask for one."""
    return next((item.media for item in accepted if item.media in {EVENTS, MULTIPART} and item.quality > 0), None)


def check_body(content_types: Sequence[str], encodings: Sequence[str]) -> None:
    """Raises Refused unless the body is JSON in UTF-8, uncompressed.

    That excludes the three types which a page of another site may send without a preflight, so it is what keeps mutations
    safe from them.
    """
    if len(content_types) > 1:
        raise refuse(BAD_REQUEST, "There is more than one Content-Type.")
    media, parameters = _media_type(content_types[0] if content_types else "")
    charsets = [value for name, value in parameters if name == "charset"]
    if media != JSON or any(value not in {"utf-8", "utf8"} for value in charsets) or len(charsets) > 1:
        raise refuse(MEDIA_TYPE, "The body must be application/json in UTF-8.", status=415)
    if any(encoding.strip().lower() != "identity" for encoding in encodings):
        raise refuse(MEDIA_TYPE, "The body must not be compressed.", status=415)


def _refuses(accepted: Sequence[Range], media: str) -> bool:
    return any(item.media == media and item.quality == 0 for item in accepted)


def _range(entry: str) -> tuple[str, float]:
    media, parameters = _media_type(entry)
    quality = next((value for name, value in parameters if name == "q"), "1")
    try:
        return media, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return "", 0.0


def _media_type(text: str) -> tuple[str, list[tuple[str, str]]]:
    media, *parameters = text.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return media.strip().lower(), [(name.strip().lower(), value.strip().strip('"').lower()) for name, _, value in pairs]
