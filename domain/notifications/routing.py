"""Who is told of what, and where: pure rules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.models.notifications import Channel, NotificationEvent

E = NotificationEvent

# By default these are told in the app and on the person's default channel, all others in the app only.
LOUD = frozenset(
    {
        E.JOB_FIRST_FAILURE,
        E.JOB_FAILED,
        E.JOB_PARTIAL,
        E.JOB_WAITING,
        E.REQUIRES_ACTION,
        E.SCHEDULE_DISABLED,
        E.INTEGRATION_DISCONNECTED,
    }
)
# By default these are told even to those who have muted notifications.
CRITICAL = frozenset({E.JOB_FAILED, E.INTEGRATION_DISCONNECTED})


@dataclass(frozen=True, slots=True)
class Rule:
    """What a person wants to be told of `event`, of jobs of `kind` only where that is given.

    `channels` None: the default channel; none at all: nothing. `critical` None: as the event is by default.
    """

    event: NotificationEvent
    kind: str | None = None
    channels: frozenset[Channel] | None = None
    critical: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        channels = None if self.channels is None else sorted(self.channels)
        return {"event": self.event.value, "kind": self.kind, "channels": channels, "critical": self.critical}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Rule":
        """Of what is stored."""
        channels = stored["channels"]
        return cls(
            event=NotificationEvent(stored["event"]),
            kind=stored["kind"],
            channels=None if channels is None else frozenset(map(Channel, channels)),
            critical=stored["critical"],
        )


@dataclass(frozen=True, slots=True)
class Preferences:
    """All that a person wants. The defaults are those of somebody who never chose."""

    enabled: bool = True
    default_channel: Channel = Channel.EMAIL
    muted_until: datetime | None = None
    rules: tuple[Rule, ...] = ()

    def rule_for(self, event: NotificationEvent, kind: str | None) -> Rule | None:
        """The rule for this kind of job, or else the one for all kinds."""
        fitting: Iterable[Rule] = (rule for rule in self.rules if rule.event is event and rule.kind in {kind, None})
        return max(fitting, key=lambda rule: rule.kind is not None, default=None)


@dataclass(frozen=True, slots=True)
class Route:
    """Where one thing is told to one person. A `muted` one is shown in the app without a sound, and sent nowhere."""

    channels: frozenset[Channel]
    critical: bool
    muted: bool


def route(
    preferences: Preferences, *, event: NotificationEvent, kind: str | None, critical: bool, at: datetime
) -> Route | None:
    """What `preferences` say of what happened `at`; None where they do not want to be told.

    `critical` is what whoever reports it thinks; the person's own rule decides.
    """
    if not preferences.enabled:
        return None
    rule = preferences.rule_for(event, kind)
    chosen = None if rule is None else rule.critical
    critical = (critical or event in CRITICAL) if chosen is None else chosen
    channels = channels_of(preferences, event, rule)
    muted = not critical and preferences.muted_until is not None and at < preferences.muted_until
    if muted:
        channels &= {Channel.IN_APP}
    return Route(channels, critical=critical, muted=muted) if channels else None


def channels_of(preferences: Preferences, event: NotificationEvent, rule: Rule | None) -> frozenset[Channel]:
    """Where an event is told by this rule; None: where no rule is about it."""
    if rule is None:
        return frozenset({Channel.IN_APP, preferences.default_channel} if event in LOUD else {Channel.IN_APP})
    return frozenset({preferences.default_channel}) if rule.channels is None else rule.channels
