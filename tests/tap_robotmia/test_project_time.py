from __future__ import annotations

import zoneinfo
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singer_martech.values.timestamps import instant_text, parse_iso
from tap_robotmia.project_time import (
    ProjectClock,
    UnknownZone,
    time_zone,
)

UTC = timezone.utc
ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
zones = st.sampled_from(ZONES)
moments = st.integers(
    int(datetime(1900, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2037, 12, 1, tzinfo=UTC).timestamp()),
)


def wall_clock(instant: datetime, zone: str) -> int:
    """Return the raw time of an instant: the wall clock read as if it were UTC."""
    wall = instant.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=UTC)
    return round(wall.timestamp())


def utc(raw: float, zone: str, arrived: datetime | None = None) -> str:
    clock = ProjectClock(time_zone(zone))
    text = clock.utc(raw)
    if text is None:
        text = clock.utc_by_arrival(raw, None if arrived is None else arrived.timestamp() * 1000)
    return text


def test_the_vendors_example_is_ten_utc() -> None:
    assert utc(1518314400, "US/Pacific") == "2018-02-11T10:00:00.000000Z"


def test_summer_time_is_seven_hours_in_pacific_time() -> None:
    noon = int(datetime(2018, 7, 1, 12, tzinfo=UTC).timestamp())
    assert utc(noon, "America/Los_Angeles") == "2018-07-01T19:00:00.000000Z"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (1518314400000, "2018-02-11T10:00:00.000000Z"),
        (1518314400123, "2018-02-11T10:00:00.123000Z"),
        (1518314400.5, "2018-02-11T10:00:00.500000Z"),
        (1518314400123.25, "2018-02-11T10:00:00.123250Z"),
        (-1.25, "1970-01-01T07:59:58.750000Z"),
    ],
)
def test_milliseconds_and_fractions_are_recognised(raw: float, expected: str) -> None:
    assert utc(raw, "US/Pacific") == expected


FALL_BACK = int(datetime(2018, 11, 4, 1, 30, tzinfo=UTC).timestamp())
FIRST, SECOND = datetime(2018, 11, 4, 8, 30, tzinfo=UTC), datetime(2018, 11, 4, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        (None, FIRST),
        (FIRST + timedelta(minutes=5), FIRST),
        (SECOND - timedelta(seconds=1), FIRST),
        (SECOND, SECOND),
        (SECOND + timedelta(days=5), SECOND),
        (FIRST - timedelta(minutes=5), FIRST),
    ],
)
def test_the_arrival_decides_an_ambiguous_time(
    arrived: datetime | None, expected: datetime
) -> None:
    assert utc(FALL_BACK, "America/Los_Angeles", arrived) == instant_text(expected)


def test_a_time_in_the_missing_hour_uses_the_offset_before_the_change() -> None:
    missing = int(datetime(2018, 3, 11, 2, 30, tzinfo=UTC).timestamp())
    assert utc(missing, "America/Los_Angeles") == "2018-03-11T10:30:00.000000Z"


def test_a_zone_that_changed_its_rules_is_read_by_the_rules_of_the_day() -> None:
    noon = [int(datetime(year, 1, 1, 12, tzinfo=UTC).timestamp()) for year in (2012, 2015)]
    assert [utc(raw, "Europe/Moscow") for raw in noon] == [
        "2012-01-01T08:00:00.000000Z",
        "2015-01-01T09:00:00.000000Z",
    ]


def test_times_in_true_utc_are_not_converted() -> None:
    clock = ProjectClock(time_zone("US/Pacific"), already_utc=True)
    assert clock.utc(1518314400) == "2018-02-11T02:00:00.000000Z"
    assert clock.utc(FALL_BACK) == "2018-11-04T01:30:00.000000Z"


@settings(max_examples=1000, deadline=None)
@given(zone=zones, moment=moments)
def test_every_instant_survives_the_round_trip_in_every_zone(zone: str, moment: int) -> None:
    instant = datetime.fromtimestamp(moment, UTC)
    assert utc(wall_clock(instant, zone), zone, arrived=instant) == instant_text(instant)


@settings(max_examples=1000, deadline=None)
@given(zone=zones, moment=moments)
def test_without_an_arrival_it_is_the_earlier_of_the_instants(zone: str, moment: int) -> None:
    instant = datetime.fromtimestamp(moment, UTC)
    wall = wall_clock(instant, zone)
    found = parse_iso(utc(wall, zone))
    assert found <= instant
    assert wall_clock(found, zone) == wall


def test_every_offset_change_of_every_zone_survives_the_round_trip() -> None:
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2005, 2027))
    for name in ZONES:
        zone, clock = zoneinfo.ZoneInfo(name), ProjectClock(time_zone(name))
        for change in _changes(zone, first, last):
            for seconds in (-3601, -1800, -1, 0, 1, 899, 1800, 3599, 3600, 7200):
                instant = datetime.fromtimestamp(change + seconds, UTC)
                raw = wall_clock(instant, name)
                text = clock.utc(raw) or clock.utc_by_arrival(raw, instant.timestamp() * 1000)
                assert text == instant_text(instant), name


def _changes(zone: zoneinfo.ZoneInfo, first: int, last: int) -> list[int]:
    """Return the instants at which the offset changes, found by looking week by week."""

    def offset(moment: int) -> timedelta | None:
        return datetime.fromtimestamp(moment, zone).utcoffset()

    found = []
    for start in range(first, last, 7 * 86400):
        low, high = start, start + 7 * 86400
        if offset(low) == offset(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        found.append(high)
    return found


@settings(max_examples=500, deadline=None)
@given(zone=zones, day=st.dates(date(1950, 1, 1), date(2036, 12, 31)))
def test_the_end_of_a_day_leads_to_the_next_day(zone: str, day: date) -> None:
    clock = ProjectClock(time_zone(zone))
    end = clock.end_of(day)
    next_day = clock.day(end)
    # some places skipped a day when they crossed the date line
    assert next_day - day in {timedelta(days=1), timedelta(days=2)}
    assert clock.end_of(day - timedelta(days=1)) <= end


@settings(max_examples=300, deadline=None)
@given(zone=zones, raw=st.one_of(st.integers(), st.floats()))
def test_only_a_time_outside_the_calendar_is_an_error(zone: str, raw: float) -> None:
    clock = ProjectClock(time_zone(zone))
    try:
        text = clock.utc(raw) or clock.utc_by_arrival(raw, None)
    except ValueError as error:
        assert "time" in str(error)  # noqa: PT017 - either way is right
    else:
        parse_iso(text)


def test_the_day_of_an_instant_is_the_projects_day() -> None:
    late = datetime(2024, 1, 1, 23, 30, tzinfo=UTC)
    assert ProjectClock(time_zone("Asia/Tokyo")).day(late) == date(2024, 1, 2)
    assert ProjectClock(time_zone("US/Pacific")).day(late) == date(2024, 1, 1)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "America", "/etc/x", "é"])
def test_an_unknown_zone_is_an_error(name: str) -> None:
    with pytest.raises(UnknownZone):
        time_zone(name)
