"""Signing in and out."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain.errors import DomainError, Unauthenticated
from domain.events import Change
from domain.tenancy import attempts, sessions
from graph.about import about, optional
from graph.context import Info
from graph.user_errors import Payload, mutation, user_error


@strawberry.input(description="What a person signs in with.")
class SignInInput:
    email: str = about("In any case of letters.")
    password: str = about("Ten tries in five minutes are allowed from one client, and a hundred from all together.")


@strawberry.input(description="A refresh token to swap for new tokens.")
class RefreshSessionInput:
    refresh_token: str = about("The newest one; it is good for one use.")


@strawberry.type(description="A signed-in session, or why there is none.")
class SessionPayload(Payload):
    access_token: str | None = optional("Send it as `Authorization: Bearer`. Good for 15 minutes.")
    access_expires_at: datetime | None = optional("When the access token ends. UTC.")
    refresh_token: str | None = optional("Good for one refresh within 30 days. Using one twice ends the session.")


@strawberry.type(description="The end of a session.")
class SignOutPayload(Payload):
    signed_out: bool = strawberry.field(default=False, description="Whether the session's tokens are refused from now on.")


@strawberry.type
class SessionsMutation:
    @mutation("Sign in with e-mail and password. Needs no credential.")
    async def sign_in(
        self, info: Info, input: Annotated[SignInInput, strawberry.argument(description="The credentials.")]
    ) -> SessionPayload:
        runtime, device = info.context.runtime, info.context.device
        await attempts.allow(runtime.redis, runtime.database, email=input.email, device=device)
        try:
            tokens = await sessions.sign_in(
                runtime.database, runtime.settings, email=input.email, password=input.password, device=device
            )
        except Unauthenticated as refused:
            return _refused(refused)
        return _payload(tokens)

    @mutation("Swap a refresh token for new tokens. Needs no credential.")
    async def refresh_session(
        self, info: Info, input: Annotated[RefreshSessionInput, strawberry.argument(description="The token.")]
    ) -> SessionPayload:
        runtime = info.context.runtime
        try:
            tokens = await sessions.refresh(runtime.database, runtime.settings, refresh_token=input.refresh_token)
        except sessions.RefreshTokenCopied as copied:
            await runtime.publish(copied.account_id, [Change("credential", copied.session_id)])
            return _refused(copied)
        except Unauthenticated as refused:
            return _refused(refused)
        return _payload(tokens)

    @mutation("End the session that this access token belongs to.")
    async def sign_out(self, info: Info) -> SignOutPayload:
        runtime, actor = info.context.runtime, info.context.actor
        if actor.session_id is not None:
            await sessions.sign_out(runtime.database, actor=actor)
            await runtime.publish(actor.account_id, [Change("credential", actor.session_id)])
        return SignOutPayload(signed_out=actor.session_id is not None)


def _payload(tokens: sessions.Tokens) -> SessionPayload:
    return SessionPayload(
        access_token=tokens.access_token, access_expires_at=tokens.access_expires_at, refresh_token=tokens.refresh_token
    )


def _refused(error: DomainError) -> SessionPayload:
    """Wrong credentials are this mutation's ordinary answer, not a fault of the request."""
    return SessionPayload(user_errors=[user_error(error)])
