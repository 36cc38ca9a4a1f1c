"""Who is told of what, and where."""

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from db.models.notifications import Channel, NotificationEvent
from domain.notifications.routing import CRITICAL, LOUD, Preferences, Rule, route

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KINDS = st.sampled_from(["crm.contacts.sync", "test.report", None])
events = st.sampled_from(NotificationEvent)
channels = st.frozensets(st.sampled_from(Channel))
rules = st.lists(
    st.builds(Rule, event=events, kind=KINDS, channels=st.none() | channels, critical=st.sampled_from([None, True, False])),
    unique_by=lambda rule: (rule.event, rule.kind),
    max_size=8,
).map(tuple)
preferences = st.builds(
    Preferences,
    enabled=st.booleans(),
    default_channel=st.sampled_from(Channel),
    muted_until=st.none() | st.sampled_from([NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)]),
    rules=rules,
)


@given(preferences, events, KINDS, st.booleans())
def test_a_route_has_a_channel_and_a_muted_one_is_shown_in_the_app_only(
    wants: Preferences, event: NotificationEvent, kind: str | None, critical: bool
) -> None:
    way = route(wants, event=event, kind=kind, critical=critical, at=NOW)
    if way is not None:
        assert way.channels
        assert wants.enabled
        assert not (way.muted and way.critical)
        assert not way.muted or way.channels == {Channel.IN_APP}


@given(preferences, events, KINDS)
def test_what_is_critical_is_told_as_if_nothing_were_muted(
    wants: Preferences, event: NotificationEvent, kind: str | None
) -> None:
    rule = wants.rule_for(event, kind)
    assume(rule is None or rule.critical is not False)
    loud = Preferences(wants.enabled, wants.default_channel, None, wants.rules)
    assert route(wants, event=event, kind=kind, critical=True, at=NOW) == route(
        loud, event=event, kind=kind, critical=True, at=NOW
    )


@given(preferences, events, st.sampled_from(["crm.contacts.sync", "test.report"]))
def test_a_rule_for_the_kind_wins_over_the_one_for_all(wants: Preferences, event: NotificationEvent, kind: str) -> None:
    found = wants.rule_for(event, kind)
    for wanted in (kind, None):
        exact = [rule for rule in wants.rules if (rule.event, rule.kind) == (event, wanted)]
        if exact:
            assert found == exact[0]
            return
    assert found is None


@given(rules)
def test_rules_are_read_as_they_were_stored(some: tuple[Rule, ...]) -> None:
    assert tuple(Rule.from_json(rule.to_json()) for rule in some) == some


def test_what_holds_without_rules() -> None:
    for event in NotificationEvent:
        way = route(Preferences(), event=event, kind=None, critical=False, at=NOW)
        assert way is not None
        assert way.channels == ({Channel.IN_APP, Channel.EMAIL} if event in LOUD else {Channel.IN_APP})
        assert way.critical is (event in CRITICAL)
        assert not way.muted
