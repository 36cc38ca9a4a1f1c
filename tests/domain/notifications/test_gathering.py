"""Many notices become few messages, and each of them is in one."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from db.models.notifications import Channel, NotificationEvent
from domain.notifications.gathering import Happened, gather
from domain.notifications.routing import Route

ACCOUNTS = [UUID(int=number) for number in (1, 2)]
PEOPLE = [UUID(int=number) for number in (11, 12, 13)]
channels = st.frozensets(st.sampled_from(Channel), min_size=1)
ways = st.builds(Route, channels=channels, critical=st.booleans(), muted=st.just(False)) | st.just(
    Route(frozenset({Channel.IN_APP}), critical=False, muted=True)
)
happenings = st.builds(
    Happened,
    account_id=st.sampled_from(ACCOUNTS),
    event=st.sampled_from([NotificationEvent.JOB_COMPLETED, NotificationEvent.JOB_FAILED]),
    title=st.just("x"),
    body=st.just(""),
    path=st.just("/"),
    at=st.just(datetime(2026, 1, 1, tzinfo=UTC)),
)
told = st.lists(st.tuples(happenings, st.dictionaries(st.sampled_from(PEOPLE), ways)), max_size=30)


@given(told)
def test_each_notice_is_told_once_to_whom_it_is_to_be_told_and_where(
    happened: list[tuple[Happened, dict[UUID, Route]]],
) -> None:
    gathered = gather(happened)
    wanted: Counter[tuple[UUID, UUID | None, UUID]] = Counter()
    for each, routes in happened:
        for user_id, way in routes.items():
            if way.channels != {Channel.SLACK}:
                wanted[each.account_id, user_id, each.id] += 1
        if any(Channel.SLACK in way.channels for way in routes.values()):
            wanted[each.account_id, None, each.id] += 1
    assert Counter((one.account_id, one.user_id, notice) for one in gathered for notice in one.notices) == wanted
    routes_of = {each.id: routes for each, routes in happened}
    for one in gathered:
        for notice in one.notices:
            if one.user_id is not None:
                way = routes_of[notice][one.user_id]
                assert (one.channels, one.critical, one.muted) == (way.channels, way.critical, way.muted)
            else:
                wants_slack = {user for user, way in routes_of[notice].items() if Channel.SLACK in way.channels}
                assert set(one.audience) == wants_slack


@given(told)
def test_what_is_of_one_kind_for_one_reader_is_one_message(happened: list[tuple[Happened, dict[UUID, Route]]]) -> None:
    gathered = gather(happened)
    assert len({(one.account_id, one.user_id, one.gathering) for one in gathered}) == len(gathered)
