from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.values.json_codec import decode_object
from target_monetate.dataset import Dataset
from target_monetate.datetimes import are_rfc_3339, to_rfc_3339
from target_monetate.row_coercion import RowCoercion
from target_monetate.row_fast_path import RowFastPath

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = {"data_type": "STRING", "identifier": True, "unique_key": True}
TYPES = {
    "name": "STRING",
    "at": "DATETIME",
    "tags": "MULTI_STRING",
    "until": "DATETIME",
    "note": "STRING",
    "price": "NUMBER",
    "active": "BOOLEAN",
}
DATASET = Dataset.from_description(
    "people", {"fields": {"id": KEY, **{name: {"data_type": each} for name, each in TYPES.items()}}}
)
KINDS = {"NUMBER": "number", "BOOLEAN": "boolean"}
SCHEMA = {
    "properties": {
        "id": {"type": "string"},
        **{name: {"type": ["null", KINDS.get(each, "string")]} for name, each in TYPES.items()},
    }
}
_TEXTS = ["a b", "é", "\\u00e9", "null", ":null", ": null", '\\",\\"name\\":null', "x\\\\", "0"]
_TIMES = ["2024-02-29T10:00:00Z", "2024-01-31T23:59:59.123456+05:30"]
FITTING = {
    "STRING": [f'"{text}"' for text in _TEXTS],
    "DATETIME": [f'"{text}"' for text in _TIMES],
    "MULTI_STRING": ['"a,b"', '"é"', '"0"'],
    "NUMBER": ["0", "1.50", "-7", "1e2"],
    "BOOLEAN": ["true", "false"],
}
UNFITTING = {
    "STRING": ['" a"', '"a "', '"\\t"', '"a\\u00a0"', '"\\u2003a"', "5", "[]"],
    "DATETIME": [
        '"2023-02-29T10:00:00Z"',
        '"2024-01-31"',
        '"2024-01-31T10:00:00"',
        '"2024-12-31T23:59:60Z"',
    ],
    "MULTI_STRING": ['"a, b"', '"a,"', '"\\""'],
    "NUMBER": ['"1"', "true"],
    "BOOLEAN": ["1", '"x"'],
}


@st.composite
def rows(draw: st.DrawFn) -> tuple[bytes, bool]:
    """Return a row, and whether all its values fit."""
    members = {"id": draw(st.sampled_from(FITTING["STRING"]))}
    for name, data_type in TYPES.items():
        empty = ["null"] if data_type in KINDS else ["null", '""']
        members[name] = draw(st.sampled_from([*FITTING[data_type], *empty]))
    fits = draw(st.sampled_from([True, True, True, False]))
    texts = list(members.items())
    if not fits:
        name, data_type = draw(st.sampled_from([*TYPES.items(), ("id", "STRING")]))
        values = [*UNFITTING[data_type], *(['""', "null"] if name == "id" else [])]
        odd = (name, draw(st.sampled_from(values)))
        texts = [odd if each[0] == name else each for each in texts]
        texts += draw(st.sampled_from([[], [("name", "null")], [("note", '"x"')]]))  # twice
    if draw(st.booleans()):
        texts = [*texts[1:], texts[0]]
        fits &= texts[0][1] not in {"null", '""'}
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    row = comma.join(f'"{name}"{colon}{text}' for name, text in texts)
    return f"{{{row}}}".encode(), fits


def exact(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in row.items()}


@given(st.lists(rows(), min_size=1, max_size=40))
def test_rows_that_fit_are_sent_like_those_that_are_converted(
    block: list[tuple[bytes, bool]],
) -> None:
    rows = RowFastPath(DATASET, SCHEMA, ["id"], ())
    assert rows.fast_path is not None
    values, records = rows.fast_path.decode([row for row, _ in block])
    bodies = rows.bodies(values, records)
    for (row, fits), body, key in zip(block, bodies, rows.keys(values), strict=True):
        assert body is not None or not fits
        if body is not None:
            expected = RowCoercion(DATASET).coerce(decode_object(row))
            assert exact(decode_object(body)) == exact(expected)
            assert key == expected["id"]


def test_a_row_with_an_empty_key_is_not_sent_as_received() -> None:
    rows = RowFastPath(DATASET, SCHEMA, ["id"], ())
    assert rows.fast_path is not None
    others = b",".join(b'"%s":null' % name.encode() for name in TYPES if name != "active")
    raws = [b'{"active":true,%s,"id":"%s"}' % (others, key) for key in (b"", b"k")]
    assert rows.bodies(*rows.fast_path.decode(raws)) == [None, b'{"active":true,"id":"k"}']


PARTS = (
    *(["0000", "0001", "1900", "2023", "2024", "9999"], ["-", "-", "-", ""]),
    *(["00", "01", "02", "04", "12", "13"], ["-", "-", "-", ""]),
    *(["00", "01", "29", "30", "31", "32"], ["T", "T", "T", "t", " "]),
    *(["00", "19", "23", "24"], [":"], ["00", "59", "60"], [":"], ["00", "59", "60", "61"]),
    *(["", "", ".", ".5", ".123456", ".9999999", "." + "9" * 12],),
    *(
        [
            "Z",
            "Z",
            "z",
            "",
            "+05:30",
            "-23:59",
            "+24:00",
            "+12:60",
            "+0530",
            "+05",
            '","',
            "\u0660",
        ],
    ),
)
DATE_TIMES = st.tuples(*map(st.sampled_from, PARTS)).map("".join) | st.sampled_from(
    ["", "a", "\ud800", '2024-01-31T10:00:00Z","2024-01-31T10:00:00Z']
)


@given(st.lists(DATE_TIMES, min_size=1, max_size=3))
@example(["2024-01-31T10:00:00Z"])
def test_date_times_that_are_checked_together_stay_as_they_are(texts: list[str]) -> None:
    if are_rfc_3339(texts):
        assert [to_rfc_3339(text) for text in texts] == texts


@given(st.lists(st.datetimes(), min_size=1))
def test_common_date_times_are_recognized(times: list[datetime.datetime]) -> None:
    utc = [time.replace(tzinfo=datetime.timezone.utc) for time in times]
    assert are_rfc_3339([time.isoformat() for time in utc])
    assert are_rfc_3339([time.isoformat().replace("+00:00", "Z") for time in utc])
