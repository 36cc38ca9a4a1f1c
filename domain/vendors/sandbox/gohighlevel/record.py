"""The log of requests, without secrets."""

from collections.abc import Mapping
from typing import Any

from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.tokens import Grant

SECRET_FIELDS = frozenset({"client_secret", "code", "refresh_token"})
HIDDEN = "[hidden]"


def record(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any, who: Grant | None) -> Json:
    """One entry of the log. The token is replaced by its class and what it is for."""
    shown = dict(headers)
    if "authorization" in shown:
        shown["authorization"] = f"Bearer [{who.token_class} {who.resource_id}]" if who else "Bearer [unknown]"
    shown.pop("cookie", None)
    return {"method": method, "path": path, "query": _hide(query), "headers": shown, "body": _shown_body(body)}


def _shown_body(body: Any) -> Any:
    if isinstance(body, dict):
        return _hide(body)
    # The marker of a body that is no JSON has no JSON form of its own.
    return body if isinstance(body, list | str | int | float | bool) or body is None else "[not JSON]"


def _hide(values: Mapping[str, Any]) -> Json:
    return {name: HIDDEN if name in SECRET_FIELDS else value for name, value in values.items()}
