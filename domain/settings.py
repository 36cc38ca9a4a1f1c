"""Typed settings, read once from the environment; every missing or malformed one is reported at the same time."""

import base64
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_MASTER_KEY = 32  # bytes
_MAIL_SCHEMES = ("smtp", "smtp+starttls", "smtps")


class SettingsError(Exception):
    """The environment is not usable; the message has one line per setting."""


class Settings(BaseSettings):
    """What a deployment decides. The environment variable is the field's name in upper case.

    No secret has a default: `bots up` writes generated ones for its demo into its data folder, a deployment sets its own.
    """

    model_config = SettingsConfigDict(env_prefix="", frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: str = Field(description="postgresql://user:password@host/name, or with ?host=/socket/folder")
    redis_url: str = Field(description="redis://host:port/0, rediss://, or unix:///path/to/socket")
    public_url: str = Field(description="where browsers reach this server, such as https://api.example.com")

    access_token_key: SecretStr = Field(min_length=32, description="signs access tokens (HS256), 32 characters or more")
    master_keys: Annotated[dict[int, SecretStr], NoDecode] = Field(
        description="wraps the accounts' data keys: version:base64 of 32 bytes, comma separated; the highest version wraps"
    )

    ghl_client_id: str = Field(description="of the marketplace app")
    ghl_client_secret: SecretStr = Field(description="of the marketplace app")
    ghl_webhook_public_key: str = Field(description="Ed25519 public key that signs GoHighLevel's webhooks, PEM or base64 DER")
    ghl_api_url: str = "https://services.leadconnectorhq.com"
    ghl_authorize_url: str = "https://marketplace.gohighlevel.com/v2/oauth/chooselocation"
    ghl_burst: int = Field(default=100, ge=1, description="requests that GoHighLevel allows in ghl_burst_seconds")
    ghl_burst_seconds: float = Field(default=10.0, gt=0)

    lease_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="how long a silent worker keeps its jobs; it reports thrice as often. The same for all processes",
    )

    smtp_url: SecretStr | None = Field(
        default=None,
        description="smtp://user:password@host:587, smtp+starttls:// or smtps://; without it no e-mail goes out",
    )
    mail_from: str = Field(default="Bottleneck-Bots <no-reply@localhost>", description="who sends the e-mails")
    slack_url: str = Field(default="https://hooks.slack.com", description="where URLs of Slack's incoming webhooks begin")

    demo: bool = Field(default=False, description="prints and prefills a token of the demo account; never in production")
    spa_url: str | None = Field(
        default=None, description="the front end: OAuth leads back to SPA_URL/oauth/gohighlevel with state and code"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(default=(), description="browser origins allowed by CORS")
    introspection: bool = Field(default=True, description="whether signed-in users may introspect the schema")
    graphiql: bool = Field(default=True, description="whether GraphiQL is served at the root")
    trusted_documents: Path | None = Field(default=None, description="JSON file, sha256 -> document; others are refused")
    log_level: str = "info"
    data_dir: Path = Path(".data")
    files_url: str | None = Field(
        default=None,
        description="where files are kept: file:///folder, s3://bucket/prefix, gs:// or az://; DATA_DIR/files when not set",
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, description="the collector of traces, such as http://collector:4318; other OTEL_ variables apply as well"
    )
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="where a worker or clock serves /metrics; each process of a machine its own"
    )
    metrics_host: str = Field(default="127.0.0.1", description="the address to serve them on")

    keep_jobs_days: int = Field(default=90, ge=1, description="how long ended jobs are kept, with all that belongs to them")
    keep_job_payloads_days: int = Field(
        default=30, ge=1, description="how long a job that ended can be retried: then its arguments and checkpoint go"
    )
    keep_schedule_fires_days: int = Field(default=90, ge=90, description="how long a schedule's history is kept")
    keep_notifications_days: int = Field(default=90, ge=1, description="how long notifications are kept that were read")
    keep_deliveries_days: int = Field(default=30, ge=2, description="how long the log of messages and webhooks is kept")

    @property
    def is_sandboxed(self) -> bool:
        """Whether the vendors are played on this machine: then customers' addresses may be on it as well."""
        return self.demo or urlsplit(self.ghl_api_url).hostname in {"127.0.0.1", "localhost", "::1"}

    @property
    def lease(self) -> timedelta:
        """`lease_seconds` as a length of time."""
        return timedelta(seconds=self.lease_seconds)

    @field_validator("master_keys", mode="before")
    @classmethod
    def _parse_master_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys: dict[int, SecretStr] = {}
        for part in value.split(","):
            version, _, key = part.strip().partition(":")
            if not version.isdecimal():
                raise ValueError("write VERSION:KEY, with a number as version")
            keys[int(version)] = SecretStr(key)
        return keys

    @field_validator("master_keys")
    @classmethod
    def _check_master_keys(cls, value: dict[int, SecretStr]) -> dict[int, SecretStr]:
        for version, key in value.items():
            try:
                raw = base64.b64decode(key.get_secret_value(), validate=True)
            except ValueError:
                raise ValueError(f"key {version} is not base64") from None
            if len(raw) != _MASTER_KEY:
                raise ValueError(f"key {version} has {len(raw)} bytes; {_MASTER_KEY} are needed")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: SecretStr | None) -> SecretStr | None:
        parts = None if value is None else urlsplit(value.get_secret_value())
        if parts is not None and (parts.scheme not in _MAIL_SCHEMES or not parts.hostname):
            raise ValueError(f"write {', '.join(f'{scheme}://HOST' for scheme in _MAIL_SCHEMES)}")
        return value

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        if "@" not in parseaddr(value)[1]:
            raise ValueError("write NAME <ADDRESS>")
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _parse_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def load() -> Settings:
    """Read the environment. Raises SettingsError that names every missing or malformed setting."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [_line(item["loc"], item["msg"]) for item in error.errors()]
        raise SettingsError("These settings are missing or wrong:\n" + "\n".join(lines)) from None


def _line(place: tuple[int | str, ...], message: str) -> str:
    name = str(place[0])
    field = Settings.model_fields.get(name)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return f"  {name.upper()}: {message.removeprefix('Value error, ')}{meaning}"
