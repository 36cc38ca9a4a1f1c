"""The closed vocabularies of workflows and schedules, as clients see them (see `graph.enums`)."""

from db.models.schedules import FireResult, MissedPolicy, OverlapPolicy
from db.models.workflows import ReportOf, StepState
from domain.schedules.queries import ScheduleStatus
from domain.schedules.recurrence import IfPast, RecurrenceForm, Weekday
from domain.workflows.steps import StepKind
from graph.vocabulary import show

__all__ = [
    "FireResult",
    "IfPast",
    "MissedPolicy",
    "OverlapPolicy",
    "RecurrenceForm",
    "ReportOf",
    "ScheduleStatus",
    "StepKind",
    "StepState",
    "Weekday",
]


show(
    ReportOf,
    "What a report lists.",
    CONTACTS="Contacts that came.",
    JOBS="Jobs that were asked for.",
)
show(
    StepKind,
    "What a step does.",
    name="WorkflowStepKind",
    REPORT="Writes a CSV file.",
    JOB="Runs a job and waits for its end.",
    NOTIFY="Sends an e-mail.",
    WAIT="Lets time pass.",
)
show(
    StepState,
    "How a step of a run stands.",
    name="WorkflowStepState",
    PENDING="It has not begun.",
    RUNNING="It has begun.",
    DONE="It ended well.",
    FAILED="It failed; a retry of the run's job goes on here.",
)
show(
    RecurrenceForm,
    "In which form a recurrence was given.",
    CRON="As cron text.",
    HOURLY="Every hour.",
    DAILY="Every day.",
    WEEKLY="On days of the week.",
    MONTHLY="On a day of the month.",
    EVERY_MINUTES="Every so many minutes.",
    ONCE="At one moment.",
)
show(
    IfPast,
    "What becomes of a moment that has passed.",
    REJECT="It is a mistake.",
    RUN_NOW="It runs at once.",
)
show(
    Weekday,
    "A day of the week.",
    MONDAY="Monday.",
    TUESDAY="Tuesday.",
    WEDNESDAY="Wednesday.",
    THURSDAY="Thursday.",
    FRIDAY="Friday.",
    SATURDAY="Saturday.",
    SUNDAY="Sunday.",
)
show(
    MissedPolicy,
    "What happens to times that went by while the system was down.",
    RUN_ONCE="It runs once as soon as the system is up.",
    SKIP="It does not run; up to a minute late is not too late.",
    RUN_ALL="It runs for each of the latest 50, one after another unless runs may overlap.",
)
show(
    OverlapPolicy,
    "What happens at a time at which the schedule's former run has not ended.",
    SKIP="It does not run.",
    QUEUE_ONE="It runs when that one has ended; while one waits so already, it does not run.",
    ALLOW="It runs beside that one.",
)
show(
    FireResult,
    "What came of a time of a schedule.",
    name="ScheduleFireResult",
    STARTED="Its run has not ended.",
    SUCCEEDED="Its run did all that was asked.",
    PARTIAL="Its run did a part of it.",
    FAILED="Its run failed; retry its job.",
    CANCELLED="Its run was cancelled.",
    OVERLAPPED="It did not run, since the run before had not ended.",
    MISSED="It did not run, since the system was down.",
)
show(
    ScheduleStatus,
    "Whether a schedule fires.",
    ACTIVE="It does.",
    PAUSED="Somebody paused it.",
    DISABLED="It cannot run; `disabledReason` says why.",
    FINISHED="There is no time to come.",
    DELETED="It was deleted; its history is kept.",
)
