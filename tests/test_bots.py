"""The command line's own promises: quick, plain, and an exit code to act on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bots(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, str(ROOT / "bots.py"), *arguments],
        env=os.environ | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_doctor_exits_by_what_it_finds() -> None:
    assert bots("doctor").returncode == 0
    ill = bots("doctor", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert ill.returncode == 1
    assert "BAD   PostgreSQL: DATABASE_URL cannot be reached" in ill.stdout
    assert "Traceback" not in ill.stderr


@pytest.mark.parametrize("command", ["web", "migrate"])
def test_missing_settings_are_listed_without_a_stack_trace(command: str) -> None:
    ran = bots(command)
    assert ran.returncode == 1
    assert "DATABASE_URL" in ran.stderr
    assert "MASTER_KEYS" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("web", "--port", "99999999")])
def test_wrong_usage_is_explained(arguments: tuple[str, ...]) -> None:
    ran = bots(*arguments)
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
