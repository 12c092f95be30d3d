from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tap_robotmia.windows import first_day, windows

days = st.dates(date(2000, 1, 1), date(2030, 1, 1))


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


def test_a_later_run_begins_before_the_bookmark_but_not_before_start_date() -> None:
    assert first_day(day(0), day(20), lookback_days=5) == day(15)
    assert first_day(day(0), day(3), lookback_days=5) == day(0)
    assert first_day(day(0), day(20), lookback_days=0) == day(20)


def test_a_start_date_after_the_bookmark_takes_precedence() -> None:
    assert first_day(day(30), day(20), lookback_days=5) == day(30)


def test_an_earlier_start_date_than_at_the_first_run_is_ignored() -> None:
    assert first_day(day(0), day(12), 5, first_start_date=day(10)) == day(10)
    assert first_day(day(0), day(40), 5, first_start_date=day(10)) == day(35)


def test_a_look_back_before_the_calendar_starts_at_start_date() -> None:
    assert first_day(day(0), day(20), lookback_days=10**9) == day(0)


def test_a_span_that_is_a_multiple_of_the_window_keeps_its_last_day() -> None:
    cut = [(w.from_date, w.to_date) for w in windows({"events": day(0)}, day(5), 3)]
    assert cut == [(day(0), day(2)), (day(3), day(5))]


def test_streams_share_the_windows_that_both_need() -> None:
    plan = list(windows({"events": day(3), "event_new": day(0)}, day(4), 2))
    assert [(w.from_date, w.to_date, w.streams) for w in plan] == [
        (day(0), day(1), ("event_new",)),
        (day(2), day(2), ("event_new",)),
        (day(3), day(4), ("events", "event_new")),
    ]


def test_a_stream_that_is_up_to_date_needs_no_window() -> None:
    assert not list(windows({"events": day(5)}, day(4), 1))


def test_a_window_beyond_the_calendar_ends_at_the_last_day() -> None:
    (only,) = windows({"events": day(0)}, date.max, 10**9)
    assert only.to_date == date.max


@given(first=days, length=st.integers(0, 400), window_days=st.integers(1, 500))
def test_every_day_is_in_exactly_one_window(first: date, length: int, window_days: int) -> None:
    last = first + timedelta(days=length)
    covered = [
        window.from_date + timedelta(days=number)
        for window in windows({"events": first}, last, window_days)
        for number in range(window.days)
    ]
    assert covered == [first + timedelta(days=number) for number in range(length + 1)]


@given(
    firsts=st.dictionaries(st.sampled_from("abcd"), days, min_size=1),
    last=days,
    window_days=st.integers(1, 2000),
)
def test_each_stream_gets_all_its_days_and_no_other(
    firsts: dict[str, date], last: date, window_days: int
) -> None:
    plan = list(windows(firsts, last, window_days))
    for name, first in firsts.items():
        mine = [window for window in plan if name in window.streams]
        assert sum(window.days for window in mine) == max((last - first).days + 1, 0)
        assert all(window.from_date >= first for window in mine)
