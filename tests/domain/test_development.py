"""What `bots up` supplies: complete, secret, stable, and never stronger than the environment."""

from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain import development, settings


def test_it_is_all_that_the_settings_need(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"DATABASE_URL": "postgresql://", "REDIS_URL": "redis://"} | development.generated_secrets()
    supplied = development.environment(given, public_url="http://web", sandbox_url="http://sandbox")
    for name, value in supplied.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    assert (loaded.demo, loaded.public_url, loaded.ghl_api_url) == (True, "http://web", "http://sandbox")
    assert loaded.ghl_authorize_url == "http://sandbox/v2/oauth/chooselocation"
    assert [len(b64decode(key.get_secret_value())) for key in loaded.master_keys.values()] == [32]


def test_the_environment_wins() -> None:
    given = {"PUBLIC_URL": "https://api.example.com", "DEMO": "false", "GHL_API_URL": "https://vendor"}
    supplied = development.environment(given, public_url="http://web", sandbox_url="http://sandbox")
    assert supplied.items() >= given.items()
    assert supplied["SANDBOX_WEBHOOK_URL"] == "https://api.example.com/webhooks/gohighlevel"


def test_the_webhook_keys_are_a_pair() -> None:
    secrets = development.generated_secrets()
    private = Ed25519PrivateKey.from_private_bytes(b64decode(secrets["SANDBOX_WEBHOOK_KEY"]))
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert b64decode(secrets["GHL_WEBHOOK_PUBLIC_KEY"]) == public


def test_secrets_are_made_once_and_only_the_missing_ones_later(tmp_path: Path) -> None:
    file = tmp_path / "demo.env"
    first = development.stored_secrets(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert development.stored_secrets(file) == first
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "CLIENT_ID" not in line))
    later = development.stored_secrets(file)
    assert {name for name in first if later[name] != first[name]} == {"GHL_CLIENT_ID"}
    assert development.stored_secrets(file) == later
