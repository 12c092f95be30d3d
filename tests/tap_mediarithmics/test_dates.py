"""Columns of the scalar Date, and time bookmarks."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_mediarithmics.coercion import DATE
from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics

QUERY = "SELECT { id birth_date } FROM UserProfile"
NOON = 1_700_000_000_000  # 2023-11-14T22:13:20Z
FORMS = [
    ("1990-05-17", "1990-05-17"),
    ("1990-05-17T08:30:00+02:00", "1990-05-17T08:30:00+02:00"),
    (642_902_400_000, "1990-05-17T00:00:00.000Z"),
    (-1, "1969-12-31T23:59:59.999Z"),
    ("1605262037783", "2020-11-13T10:07:17.783Z"),
    ("202011131007", "202011131007"),
    ("sometime", "sometime"),
    (10**18, "1000000000000000000"),
    (None, None),
]


@pytest.fixture
def profiles(
    vendor: Mediarithmics, config: dict[str, Any], lines: Any
) -> Callable[..., dict[str, Any]]:
    """Settings with a stream whose newest result has these birth dates."""
    export = vendor.add_export("Profiles", QUERY)

    def made(*dates: Any, more: dict[str, Any] | None = None, **item: Any) -> dict[str, Any]:
        rows = [{"id": "0", "birth_date": date, **(more or {})} for date in dates]
        vendor.add_execution(export, created=NOON, files=[lines(*rows)])
        return {**config, "exports": [{"stream": "profiles", "export_id": export, **item}]}

    return made


@pytest.mark.parametrize("with_catalog", [False, True])
@pytest.mark.parametrize("more", [{}, {"unknown": 1}], ids=["fast path", "slow path"])
def test_a_date_column_is_text_and_accepts_every_form(
    profiles: Any, sync: Any, with_catalog: bool, more: dict[str, Any]
) -> None:
    settings = profiles(*(sent for sent, _ in FORMS), more=more)
    tap = TapMediarithmics(config=settings, setup_mapper=False)
    output = sync(settings, catalog=tap.catalog_dict if with_catalog else None)
    schema = output.schema("profiles")["schema"]["properties"]["birth_date"]
    assert schema == DATE
    assert schema["type"] == ["string", "null"]
    assert "format" not in schema
    records = output.records("profiles")
    assert [each["birth_date"] for each in records] == [expected for _, expected in FORMS]
    assert all("birth_date" not in each.get("_extra", {}) for each in records)


def test_a_date_works_as_replication_key_in_every_form(profiles: Any, sync: Any) -> None:
    dates = ["1990-05-17", 1_000_000_000_000, None, "2001-09-09T01:46:41Z", "2001-09-09"]
    output = sync(profiles(*dates, replication_key="birth_date"))
    assert output.bookmark("profiles")["replication_key_value"] == "2001-09-09T01:46:41Z"


@pytest.mark.parametrize("future", ["2099-01-01", "2023-11-14T22:13:21Z", 4_070_908_800_000])
def test_a_date_after_its_execution_does_not_move_the_bookmark_and_is_warned_about(
    profiles: Any, sync: Any, caplog: pytest.LogCaptureFixture, future: Any
) -> None:
    output = sync(profiles("2020-01-01", future, "2019-01-01", replication_key="birth_date"))
    assert output.counts["profiles"] == 3
    assert output.bookmark("profiles")["replication_key_value"] == "2020-01-01"
    (warning,) = [each.getMessage() for each in caplog.records if "creation of" in each.message]
    assert warning.startswith("stream 'profiles', replication key 'birth_date': ")


def test_a_value_that_is_not_a_date_does_not_move_the_bookmark(
    profiles: Any, sync: Any, caplog: pytest.LogCaptureFixture
) -> None:
    output = sync(profiles("2020-01-01", "sometime", replication_key="birth_date"))
    assert output.bookmark("profiles")["replication_key_value"] == "2020-01-01"
    assert "these values cannot be bookmarks and were ignored: sometime" in caplog.text


def test_a_row_dated_in_the_future_does_not_end_an_incremental_stream(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any
) -> None:
    item = {
        "stream": "users",
        "query": "SELECT { id creation_ts } FROM UserPoint WHERE creation_ts >= {start}",
        "replication_key": "creation_ts",
    }
    settings = {**config, "start_date": "2020-01-01", "exports": [item]}
    today = NOON
    vendor.set_objects(
        "UserPoint",
        [{"id": "now", "creation_ts": today}, {"id": "wrong", "creation_ts": 4_070_908_800_000}],
    )
    first = sync(settings)
    assert first.bookmark("users")["replication_key_value"] == "2023-11-14T22:13:20.000Z"
    vendor.set_objects("UserPoint", [{"id": "later", "creation_ts": today + 1}])
    second = sync(settings, state=first.state)
    assert [each["id"] for each in second.records("users")] == ["later"]


@pytest.mark.parametrize(
    ("sent", "column", "expected"),
    [
        ("2021-02-08", {"format": "date-time"}, "2021-02-08T00:00:00.000Z"),
        ("2021-02-08T00:00:00Z", {"format": "date"}, "2021-02-08"),
        ("1605262037783", {"format": "date-time"}, "2020-11-13T10:07:17.783Z"),
        (17, {}, "17"),
        (1.5, {}, "1.5"),
    ],
)
def test_nothing_is_null_while_its_column_could_hold_the_value(
    profiles: Any, sync: Any, sent: Any, column: dict[str, Any], expected: Any
) -> None:
    schema = {"type": "object", "properties": {"birth_date": {"type": "string", **column}}}
    (record,) = sync(profiles(sent, schema=schema)).records("profiles")
    assert record["birth_date"] == expected
    assert record["_extra"] == {"id": "0"}


@pytest.mark.parametrize(
    ("sent", "kind", "expected"),
    [(5.0, "integer", 5), ("true", "boolean", True), ("1.50", "number", 1.5)],
)
def test_a_number_or_boolean_in_another_form_is_converted(
    profiles: Any, sync: Any, sent: Any, kind: str, expected: Any
) -> None:
    schema = {"type": "object", "properties": {"birth_date": {"type": kind}}}
    (record,) = sync(profiles(sent, schema=schema)).records("profiles")
    assert record["birth_date"] == expected


def test_a_text_column_holds_other_values_as_json(profiles: Any, sync: Any) -> None:
    schema = {"type": "object", "properties": {"birth_date": {"type": "string"}}}
    records = sync(profiles(True, {"y": 1.10}, schema=schema)).records("profiles")
    assert [each["birth_date"] for each in records] == ["true", '{"y":1.1}']
    assert [each["_extra"]["birth_date"] for each in records] == [True, {"y": Decimal("1.1")}]
