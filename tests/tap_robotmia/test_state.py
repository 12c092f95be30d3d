from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from singer_martech.values.timestamps import instant_text, parse_iso
from tests.tap_robotmia.conftest import day, event, numbered

if TYPE_CHECKING:
    from datetime import date

    from tests.sandbox.robotmia import Robotmia
    from tests.sandbox.server import Sandbox
    from tests.tap_robotmia.conftest import Run, Tap

PACIFIC = ZoneInfo("America/Los_Angeles")


def state(bookmark: Any, **more: Any) -> dict[str, Any]:
    entry = {"replication_key": "time", "replication_key_value": bookmark, **more}
    return {"bookmarks": {"events": entry}}


def start_of(number: int) -> str:
    """Return the first instant of a day counted from the first of January 2024."""
    midnight = datetime(2024, 1, 1, tzinfo=PACIFIC) + timedelta(days=number)
    return instant_text(midnight)


def asked(vendor: Robotmia) -> list[str]:
    return sorted(request.parameters["from_date"] for request in vendor.exports)


def days(first: int, last: int) -> list[str]:
    return [day(number) for number in range(first, last + 1)]


def today() -> date:
    return datetime.now(PACIFIC).date()


def test_the_bookmark_moves_to_the_end_of_each_window_also_an_empty_one(
    vendor: Robotmia, tap: Tap
) -> None:
    vendor.set_events([event(0.5), event(3.5)])
    run = tap.run(start_date=day(0), end_date=day(3))
    assert run.bookmarks() == [start_of(number) for number in (1, 2, 3, 4)]
    assert run.states[-1] == state(start_of(4), start_date=day(0))


def test_state_comes_after_the_windows_last_record(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(numbered(8))
    run = tap.run(start_date=day(0), end_date=day(1))
    assert [message["type"] for message in run.messages] == [
        "SCHEMA",
        *["RECORD"] * 4,
        "STATE",
        *["RECORD"] * 4,
        "STATE",
    ]


def test_every_run_exports_and_writes_the_look_back_days_again(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(numbered(80))
    first = tap.run(start_date=day(0), end_date=day(9))
    vendor.requests.clear()
    second = tap.run(start_date=day(0), end_date=day(12), state=first.states[-1])
    assert asked(vendor) == days(5, 12)
    assert second.ids()[:20] == first.ids()[20:]
    assert set(second.bookmarks()) == {start_of(number) for number in (10, 11, 12, 13)}


def test_a_late_event_arrives_with_the_next_run(vendor: Robotmia, tap: Tap) -> None:
    now = datetime.now(timezone.utc)
    vendor.set_events(numbered(20))
    vendor.add_event(event(2.6, insert_id="late", n=99), arrives_at=now.timestamp() - 1800)
    vendor.now = now - timedelta(hours=1)
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(4)}
    first = tap.run(**span)
    vendor.now = None
    second = tap.run(**span, state=first.states[-1])
    assert len(first.ids()) == 20
    assert sorted(second.ids()) == sorted({*first.ids(), *second.ids()})
    assert len(set(second.ids()) - set(first.ids())) == 1


def test_without_look_back_no_day_that_has_ended_is_exported_twice(
    vendor: Robotmia, tap: Tap
) -> None:
    vendor.set_events(numbered(20))
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(4), "lookback_days": 0}
    first = tap.run(**span)
    vendor.requests.clear()
    second = tap.run(**span, state=first.states[-1])
    assert asked(vendor) == []
    assert second.ids() == []
    assert second.bookmark() == first.bookmark()


def test_the_bookmark_is_never_past_now_and_today_is_exported_again(
    vendor: Robotmia, tap: Tap
) -> None:
    start = (today() - timedelta(days=2)).isoformat()
    before = datetime.now(timezone.utc)
    first = tap.run(start_date=start, lookback_days=0)
    assert before <= parse_iso(first.bookmark()) <= datetime.now(timezone.utc)
    vendor.requests.clear()
    second = tap.run(start_date=start, lookback_days=0, state=first.states[-1])
    assert asked(vendor)[0] == today().isoformat()
    assert second.bookmark() > first.bookmark()


def test_the_bookmark_never_moves_backwards(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events(numbered(40))
    run = tap.run(start_date=day(0), end_date=day(5), state=state(start_of(10), start_date=day(0)))
    assert asked(vendor) == [day(5)]
    assert set(run.bookmarks()) == {start_of(10)}
    assert len(run.records()) == 4


def test_end_date_is_inclusive_and_never_after_today(vendor: Robotmia, tap: Tap) -> None:
    start = (today() - timedelta(days=1)).isoformat()
    tap.run(start_date=start, end_date=(today() + timedelta(days=30)).isoformat())
    assert asked(vendor)[-1] == today().isoformat()


def test_a_date_time_counts_as_its_date(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events([])
    tap.run(start_date="2024-01-01T23:00:00Z", end_date="2024-01-02T00:00:00+02:00")
    assert asked(vendor) == days(0, 1)


def test_a_start_date_after_the_bookmark_takes_precedence(vendor: Robotmia, tap: Tap) -> None:
    vendor.set_events([])
    old = state(start_of(3), start_date=day(0))
    run = tap.run(start_date=day(8), end_date=day(9), state=old)
    assert asked(vendor) == days(8, 9)
    assert run.states[-1] == state(start_of(10), start_date=day(0))


def test_an_earlier_start_date_than_at_the_first_run_is_ignored_with_a_warning(
    vendor: Robotmia, tap: Tap
) -> None:
    vendor.set_events([])
    old = state(start_of(12), start_date=day(10))
    run = tap.run(start_date=day(0), end_date=day(12), state=old)
    assert asked(vendor) == days(10, 12)
    assert "setting 'start_date' (2024-01-01) is earlier than at the first run" in run.log


def test_a_bookmark_in_the_future_counts_as_now(vendor: Robotmia, tap: Tap) -> None:
    future = instant_text(datetime.now(timezone.utc) + timedelta(days=20))
    run = tap.run(start_date=day(0), lookback_days=1, state=state(future, start_date=day(0)))
    assert asked(vendor) == [
        (today() - timedelta(days=1)).isoformat(),
        today().isoformat(),
    ]
    assert run.bookmark() == future
    assert "in the future" in run.log


@pytest.mark.parametrize(
    "bookmark", ["2024-01-11T08:00:00+00:00", "2024-01-11T08:00:00", "2024-01-11T00:00:00-08:00"]
)
def test_bookmarks_of_other_forms_are_understood(vendor: Robotmia, tap: Tap, bookmark: str) -> None:
    vendor.set_events([])
    run = tap.run(start_date=day(0), end_date=day(11), lookback_days=0, state=state(bookmark))
    assert asked(vendor) == days(10, 11)
    assert run.bookmark() == start_of(12)


@pytest.mark.parametrize(
    "bookmark", ["yesterday", 17, {"a": 1}, ["2024-01-01"], "0001-01-01T00:00:00+14:00"]
)
def test_a_bookmark_that_is_not_an_instant_ends_the_run(tap: Tap, bookmark: Any) -> None:
    run = tap.run(start_date=day(0), end_date=day(1), state=state(bookmark), status=1)
    assert "the STATE's bookmark of stream 'events' is not an instant" in run.reason


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"bookmarks": {"export": {"date": "2024-01-01"}}},
        {"bookmarks": {"events": {"replication_key": "id", "replication_key_value": 17}}},
    ],
)
def test_a_state_of_something_else_begins_at_start_date(
    vendor: Robotmia, tap: Tap, other: dict[str, Any]
) -> None:
    vendor.set_events([])
    run = tap.run(start_date=day(0), end_date=day(1), state=other)
    assert asked(vendor) == days(0, 1)
    assert run.bookmark() == start_of(2)


def test_a_full_table_run_begins_at_start_date_and_leaves_the_bookmark(
    vendor: Robotmia, tap: Tap
) -> None:
    vendor.set_events([])
    catalog = tap.discover()
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    run = tap.run(start_date=day(0), end_date=day(1), catalog=catalog, state=state(start_of(9)))
    assert asked(vendor) == days(0, 1)
    assert run.bookmark() == start_of(9)


def test_the_state_is_never_ahead_after_any_end_of_a_run(sandbox: Sandbox, tap: Tap) -> None:
    vendor = tap.vendor
    vendor.set_events(numbered(40))
    span: dict[str, Any] = {"start_date": day(0), "end_date": day(9), "lookback_days": 0}
    seen: set[str] = set()
    last: Run | None = None
    for after in (3, 0, 2, 1, 4):
        fault = sandbox.faults.add("robotmia", "/export/", after=after, times=None, status=400)
        last = tap.run(**span, state=last.states[-1] if last else {}, status=None)
        sandbox.faults.clear()
        seen |= set(last.ids())
        done = int((parse_iso(last.bookmark()) - parse_iso(start_of(0))).days)
        assert len(seen) >= done * 4
        assert fault.served == (last.status != 0) or fault.served > 0
    final = tap.run(**span, state=last.states[-1] if last else {})
    assert len(seen | set(final.ids())) == 40
