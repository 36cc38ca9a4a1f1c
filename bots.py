"""The command line. Every command calls one function elsewhere, and imports it only when it is asked for."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

_ROOT = Path(__file__).resolve().parent
_SCHEMA = _ROOT / "schema.graphql"
_GRAPHIQL = _ROOT / "graph" / "transports" / "graphiql"

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help="Bottleneck-Bots.")
keys = typer.Typer(no_args_is_help=True, help="The keys that wrap the accounts' data keys.")
app.add_typer(keys, name="keys")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Port to listen on.")]
SandboxPort = Annotated[int, typer.Option(min=1, max=65535, help="Port of the sandbox that plays the vendors.")]


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    sandbox_port: SandboxPort = 8100,
    demo: Annotated[bool, typer.Option(help="Play the demo once everything is up.")] = True,
) -> None:
    """Run the whole system in this terminal, with embedded servers where DATABASE_URL or REDIS_URL is not set."""
    from jobs.up import Options, up

    program = (sys.executable, str(Path(__file__).resolve()))
    asyncio.run(up(Options(program=program, host=host, port=port, sandbox_port=sandbox_port, demo=demo)))


@app.command()
def web(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve GraphQL and the routes beside it."""
    from graph import server

    server.serve(host=host, port=port)


@app.command()
def worker(lane: Annotated[Literal["interactive", "bulk", "calls"], typer.Argument()]) -> None:
    """Run the jobs of one lane."""
    from jobs import worker

    worker.main(lane)


@app.command()
def clock() -> None:
    """Admit jobs, end lapsed leases, fire schedules."""
    from jobs import clock

    clock.main()


@app.command()
def sandbox(host: Host = "127.0.0.1", port: Port = 8100) -> None:
    """Play the vendors, offline."""
    import uvicorn

    uvicorn.run(
        "domain.vendors.sandbox.app:create_app",
        factory=True,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    from db import migrate
    from domain import settings

    migrate.upgrade(settings.load().database_url)


@app.command()
def schema(check: Annotated[bool, typer.Option(help="Only compare; fail when they differ.")] = False) -> None:
    """Print the GraphQL schema to schema.graphql."""
    from graph.schema import sdl

    printed = sdl()
    if not check:
        _SCHEMA.write_text(printed)
    elif not _SCHEMA.exists() or _SCHEMA.read_text() != printed:
        _fail("schema.graphql is not what the code says. Run `bots schema` and review the difference.")


@app.command()
def doctor() -> None:
    """Say in plain words what is missing or unreachable."""
    from domain.doctor import Verdict, examine

    findings = asyncio.run(examine(graphiql=_GRAPHIQL))
    for finding in findings:
        typer.echo(f"{finding.verdict:<5} {finding.subject}: {finding.text}")
    if any(finding.verdict is Verdict.BAD for finding in findings):
        raise typer.Exit(1)


@keys.command()
def rotate() -> None:
    """Wrap every account's data key with the newest master key."""
    from domain import settings
    from domain.tenancy import vault

    asyncio.run(vault.rotate_all(settings.load()))


@app.command()
def account(
    name: Annotated[str, typer.Argument(help="The agency's name.")],
    owner: Annotated[str, typer.Option(help="Its owner's name.", prompt=True)],
    email: Annotated[str, typer.Option(help="What the owner signs in with.", prompt=True)],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="OWNER_PASSWORD")],
    staff: Annotated[bool, typer.Option(help="An account of support people instead.")] = False,
) -> None:
    """Make an account with its owner."""
    from domain import settings
    from domain.tenancy import accounts

    made = accounts.create_from_command_line(
        settings.load().database_url, name=name, owner_name=owner, email=email, password=password, is_staff=staff
    )
    typer.echo(f"Account {asyncio.run(made).name} is made; its owner signs in as {email}.")


@app.command()
def suspend(
    account: Annotated[UUID, typer.Argument(help="The account's UUID.")],
    end: Annotated[bool, typer.Option(help="End its suspension instead.")] = False,
) -> None:
    """Let an account's jobs wait, at their next checkpoint, until its subscription is renewed."""
    from domain import settings
    from domain.recovery import suspension

    found = asyncio.run(suspension.set_from_command_line(settings.load().database_url, account_id=account, suspended=not end))
    typer.echo(f"{found.name} is {'active' if end else 'suspended'}.")


@app.command()
def demo() -> None:
    """Ask the running server for a contact sync and draw its progress."""
    from domain import settings
    from domain.demo import play

    loaded = settings.load()
    asyncio.run(play(loaded.public_url, loaded))


def main() -> None:
    """Run the command line; what a person can mend ends in a message, not a stack trace."""
    try:
        app()
    except Exception as error:
        from sqlalchemy.exc import SQLAlchemyError

        from db.embedded.process import EmbeddedError
        from domain.demo import DemoFailed
        from domain.errors import DomainError
        from domain.settings import SettingsError
        from jobs.up import CannotStart

        if not isinstance(
            error, CannotStart | DemoFailed | DomainError | EmbeddedError | OSError | SettingsError | SQLAlchemyError
        ):
            raise
        _fail(str(error))


def _fail(message: str) -> None:
    typer.echo(message, err=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
