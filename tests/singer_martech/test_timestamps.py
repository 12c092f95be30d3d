from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.values.timestamps import epoch_ms, epoch_s, iso, parse_iso, parse_timestamp

_UTC = datetime.timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01", "2024-05-01T00:00:00Z"),
        (" 2024-05-01T10:00Z\n", "2024-05-01T10:00:00Z"),
        ("2024-05-01 10:00:00,5 +02", "2024-05-01T08:00:00.500Z"),
        ("2024-05-01t10:00:00.123456789z", "2024-05-01T10:00:00.123456Z"),
        ("2024-05-01T10:00:00-0330", "2024-05-01T13:30:00Z"),
    ],
)
def test_common_forms_of_iso_text_are_parsed(text: str, expected: str) -> None:
    assert iso(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1e999990"),
        Decimal("-1e999990"),
        Decimal("1E+999999999999999999"),
        Decimal("1e16"),
        Decimal("NaN"),
        Decimal("Infinity"),
        float("inf"),
        float("nan"),
        10**4000,
        10**16,
        10**15,
        "1e999990",
        "9" * 100_000,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2024-02-30",
        "2024-05-01T24:01",
        "yesterday",
        "",
        True,
        None,
        [],
    ],
)
@pytest.mark.parametrize("read", [parse_timestamp, epoch_s, epoch_ms, iso])
def test_other_values_are_errors_without_delay(read: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(value)


def test_a_tiny_number_is_the_epoch() -> None:
    assert epoch_ms(Decimal("1e-999990")) == 0


@given(
    st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)),  # noqa: DTZ001
    st.timezones(),
)
def test_formatted_timestamps_are_parsed_back(
    time: datetime.datetime, zone: datetime.tzinfo
) -> None:
    instant = time.replace(tzinfo=_UTC)
    assert parse_iso(iso(instant)) == instant
    assert parse_timestamp(instant.astimezone(zone)) == instant
