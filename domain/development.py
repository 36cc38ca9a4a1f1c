"""The settings that `bots up` supplies: secrets generated once for this machine, and the sandbox in place of the vendors."""

import os
import secrets
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def environment(given: Mapping[str, str], *, public_url: str, sandbox_url: str, mail_port: int | None = None) -> dict[str, str]:
    """Return `given` with what it lacks for a demo. What `given` holds always wins; with it GoHighLevel's place there is no
    sandbox, and so none that takes e-mail (at `mail_port`) and Slack's messages.
    """
    public_url = given.get("PUBLIC_URL", public_url)
    supplied = {
        "DEMO": "true",
        "PUBLIC_URL": public_url,
        "GHL_API_URL": sandbox_url,
        "GHL_AUTHORIZE_URL": f"{sandbox_url}/v2/oauth/chooselocation",
        "SANDBOX_WEBHOOK_URL": f"{public_url}/webhooks/gohighlevel",
    }
    if "GHL_API_URL" not in given:
        supplied["SLACK_URL"] = sandbox_url
        if mail_port is not None:
            supplied |= {"SMTP_URL": f"smtp://127.0.0.1:{mail_port}", "SANDBOX_MAIL_PORT": str(mail_port)}
    return supplied | dict(given)


def stored_secrets(file: Path) -> dict[str, str]:
    """Return the generated secrets in `file`, after adding those it lacks; only its owner can read it."""
    lines = file.read_text().splitlines() if file.exists() else []
    stored = dict(line.split("=", 1) for line in lines if "=" in line)
    complete = generated_secrets() | stored
    if complete != stored:
        draft = file.with_name(f"{file.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.writelines(f"{name}={value}\n" for name, value in complete.items())
        draft.replace(file)
    return complete


def generated_secrets() -> dict[str, str]:
    """Return a new value for every secret of a demo; the two webhook keys belong together."""
    webhook = Ed25519PrivateKey.generate()
    public = webhook.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "ACCESS_TOKEN_KEY": secrets.token_urlsafe(48),
        "MASTER_KEYS": f"1:{b64encode(secrets.token_bytes(32)).decode()}",
        "GHL_CLIENT_ID": f"{secrets.token_hex(12)}-demo",
        "GHL_CLIENT_SECRET": secrets.token_urlsafe(32),
        "SANDBOX_WEBHOOK_KEY": b64encode(webhook.private_bytes_raw()).decode(),
        "GHL_WEBHOOK_PUBLIC_KEY": b64encode(public).decode(),
    }
