"""What an account decides for its jobs of a kind, and how many of its jobs run at once."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from domain.jobs import settings
from domain.jobs.settings import KindSettings, SettingsChange
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.enums import JobPriority, Lane, Role
from graph.user_errors import Payload, mutation


@strawberry.type(description="What jobs of a kind are given when nobody decided otherwise.")
class JobKindDefaults:
    priority: JobPriority = about("Their level.")
    max_retries: int = about("Retries after the first attempt.")
    timeout_seconds: int = about("For all attempts together, from the first start.")


@strawberry.type(description="What the account's future jobs of a kind are given.")
class JobSettings:
    kind: str = about("The kind, such as crm.contacts.sync.")
    title: str = about("The same for people.")
    lane: Lane = about("The class of workers that runs such jobs.")
    priority: JobPriority = about("Their level.")
    max_retries: int = about("Retries after the first attempt; the pauses are 30, 60, 120, 240 seconds, and so on.")
    timeout_seconds: int = about("For all attempts together, from the first start; it wins over retries.")
    slots: int | None = about("How many run at once, within the account's slots; null: as many as there are slots.")
    defaults: JobKindDefaults = about("What the kind itself says: what null goes back to.")
    set_by: Role | None = about("Who decided the priority; a member cannot change an owner's or admin's decision.")
    version: int = about("For `expectedVersion`; 0 before anything was decided.")
    updated_at: datetime | None = about("When it was changed last; null if never. UTC.")

    @resolved("The fields that the account has decided, such as maxRetries; all others are the kind's own.")
    def decided(root: strawberry.Parent[KindSettings]) -> list[str]:
        """For a form that shows what was changed."""
        return [shown_as for name, shown_as in _FIELDS.items() if name in root.decided]


_FIELDS = {"priority": "priority", "max_retries": "maxRetries", "timeout_seconds": "timeoutSeconds", "slots": "slots"}


@strawberry.type(description="How many jobs of the account may run at once.")
class AccountSlots:
    slots: int = about("How many, all kinds together.")
    in_use: int = about("How many of them jobs hold now; more than `slots` for a while after these were reduced.")
    version: int = about("For `expectedVersion`.")


@strawberry.input(description="What to decide for future jobs of a kind. A field that is left out stays; null: the kind's own.")
class UpdateJobSettingsInput:
    kind: str = about("The kind, as in `jobSettings`.")
    expected_version: int = about("The version that the change is based on; 0 where nothing was decided yet.")
    priority: JobPriority | None = strawberry.field(
        default=strawberry.UNSET, description="Their level. Members may decide it, unless an owner or admin has."
    )
    max_retries: int | None = strawberry.field(default=strawberry.UNSET, description="0 to 10. Needs settings:write.")
    timeout_seconds: int | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 604,800, a week. Needs settings:write."
    )
    slots: int | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 1,000; counts from the next admission on. Needs settings:write."
    )

    def to_domain(self) -> SettingsChange:
        """Only what was given."""
        given = {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not strawberry.UNSET}
        values = {name: None if value is None else int(value) for name, value in given.items()}
        return SettingsChange(kind=self.kind, expected_version=self.expected_version, values=values)


@strawberry.input(description="How many jobs of the account may run at once.")
class UpdateAccountSlotsInput:
    slots: int = about("1 to 1,000. Jobs that run already go on.")
    expected_version: int = about("The version that the change is based on.")


@strawberry.type(description="What came of a change to the settings of a kind.")
class JobSettingsPayload(Payload):
    settings: JobSettings | None = optional("As they are now; null when nothing was done.")


@strawberry.type(description="What came of a change to the account's slots.")
class AccountSlotsPayload(Payload):
    account_slots: AccountSlots | None = optional("As they are now; null when nothing was done.")


@strawberry.type
class JobSettingsQuery:
    @resolved("What the account's future jobs are given, a row for each kind. Needs jobs:read.", list[JobSettings] | None)
    async def job_settings(
        self,
        info: Info,
        kinds: Annotated[list[str] | None, strawberry.argument(description="Only these kinds.")] = None,
    ) -> Any:
        """By the kind's name."""
        async with info.context.unit() as unit:
            rows = await settings.of_all_kinds(unit)
        return [row for row in rows if kinds is None or row.kind in kinds]

    @resolved("How many jobs of the account may run at once. Needs jobs:read.", AccountSlots | None)
    async def account_slots(self, info: Info) -> Any:
        """All kinds together."""
        async with info.context.unit() as unit:
            return await settings.account_slots(unit)


@strawberry.type
class JobSettingsMutation:
    @mutation("Decide what future jobs of a kind are given. Needs jobs:write; all but the priority settings:write.")
    async def update_job_settings(
        self, info: Info, input: Annotated[UpdateJobSettingsInput, strawberry.argument(description="The decision.")]
    ) -> JobSettingsPayload:
        async with info.context.unit() as unit:
            changed = await settings.update(unit, input.to_domain())
        return JobSettingsPayload(settings=shown(changed))

    @mutation("Decide how many jobs of the account may run at once. Needs settings:write.")
    async def update_account_slots(
        self, info: Info, input: Annotated[UpdateAccountSlotsInput, strawberry.argument(description="The decision.")]
    ) -> AccountSlotsPayload:
        async with info.context.unit() as unit:
            changed = await settings.update_account_slots(unit, slots=input.slots, expected_version=input.expected_version)
        return AccountSlotsPayload(account_slots=shown(changed))
