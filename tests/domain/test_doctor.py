"""The doctor's findings, against real servers and against none."""

from pathlib import Path

import pytest

from db.embedded.postgres import EmbeddedPostgres
from domain import development
from domain.doctor import Finding, Verdict, examine


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, redis_url: str) -> pytest.MonkeyPatch:
    """An environment like a deployment's: everything set, by itself."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path)}
    nowhere = "http://127.0.0.1:1"
    supplied = development.environment(given | development.generated_secrets(), public_url="https://x", sandbox_url=nowhere)
    for name, value in supplied.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


async def findings(graphiql: Path = Path("/nowhere")) -> dict[str, Finding]:
    return {finding.subject: finding for finding in await examine(graphiql=graphiql)}


async def test_with_nothing_set_the_embedded_servers_are_announced() -> None:
    found = await findings()
    assert not any(finding.verdict is Verdict.BAD for finding in found.values())
    assert "starts an embedded one" in found["PostgreSQL"].text
    assert "starts an embedded one" in found["Redis"].text
    assert "ACCESS_TOKEN_KEY" in found["Settings"].text


async def test_one_server_of_one_s_own_and_the_other_embedded(
    monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str, postgres: EmbeddedPostgres
) -> None:
    """`bots up` supplies what is missing; nothing keeps it from running."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    found = await findings()
    assert not any(finding.verdict is Verdict.BAD for finding in found.values()), found
    assert found["PostgreSQL"].text.startswith("18.")
    assert "starts an embedded one" in found["Redis"].text
    assert "REDIS_URL" in found["Settings"].text
    assert "DATABASE_URL" not in found["Settings"].text
    monkeypatch.setenv("DATABASE_URL", postgres.url_of("postgres"))
    assert (await findings())["Migrations"].verdict is Verdict.NOTE, "it brings them up to date itself"
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("REDIS_URL", redis_url)
    found = await findings()
    assert not any(finding.verdict is Verdict.BAD for finding in found.values()), found
    assert "starts an embedded one" in found["PostgreSQL"].text
    assert "valkey 9." in found["Redis"].text


async def test_reachable_servers_are_named_with_their_versions(deployment: pytest.MonkeyPatch) -> None:
    found = await findings()
    assert found["PostgreSQL"].text.startswith("18.")
    assert "valkey 9." in found["Redis"].text
    assert found["Settings"] == Finding("Settings", Verdict.GOOD, "all are set")
    assert found["Migrations"].verdict is Verdict.GOOD
    assert found["GoHighLevel"].verdict is Verdict.BAD
    assert "http://127.0.0.1:1 cannot be reached" in found["GoHighLevel"].text


async def test_an_empty_database_asks_for_migrations(deployment: pytest.MonkeyPatch, postgres: EmbeddedPostgres) -> None:
    deployment.setenv("DATABASE_URL", postgres.url_of("postgres"))
    assert (await findings())["Migrations"].text == "not up to date. Run `bots migrate`."


async def test_unreachable_servers_and_missing_settings_are_all_named(deployment: pytest.MonkeyPatch) -> None:
    deployment.setenv("DATABASE_URL", "postgresql://user:geheim@127.0.0.1:1/x")
    deployment.setenv("REDIS_URL", "redis://:geheim@127.0.0.1:1/0")
    deployment.delenv("ACCESS_TOKEN_KEY")
    deployment.setenv("MASTER_KEYS", "nonsense")
    found = await findings()
    assert {name for name, finding in found.items() if finding.verdict is Verdict.BAD} >= {"PostgreSQL", "Redis", "Settings"}
    assert "ACCESS_TOKEN_KEY" in found["Settings"].text
    assert not any("geheim" in finding.text for finding in found.values())


async def test_a_data_folder_that_is_a_file(deployment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    deployment.setenv("DATA_DIR", str(tmp_path / "file" / "data"))
    assert (await findings())["Data folder"].verdict is Verdict.BAD
