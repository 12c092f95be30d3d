from __future__ import annotations

import json
from itertools import cycle
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from singer_martech.mapping.metadata_columns import SDC_COLUMNS, MetadataColumns, UnusualColumns

COLUMNS = MetadataColumns(SDC_COLUMNS)
OTHERS = (
    *(
        '"id":1',
        '"_sdc_lsn":5',
        '"a":"_sdc_sequence"',
        '"a":", \\"_sdc_sequence\\": 1"',
        '"b":[1,{}]',
    ),
    *('"more":{"x":1,"_sdc_sequence":2}', '"more":{"_sdc_sequence":2,"x":1}', '"é":"é"'),
    *('"more":[{"_sdc_sequence":2}]', '"more":{"_sdc_sequence":2}'),
)
METADATA = (
    *(
        '"_sdc_sequence":1',
        '"_sdc_batched_at": "2026-03-10T12:00:00Z"',
        '"_sdc_table_version":1.50',
    ),
    *('"_sdc_deleted_at":null', '"_sdc_received_at" : "a, \\"b\\"}"', '"_sdc_extracted_at":[{}]'),
)


def parsed(text: bytes) -> dict[str, Any] | None:
    """Return an object, or None if the text is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@given(
    starts=st.lists(st.lists(st.sampled_from(OTHERS + METADATA), max_size=6), min_size=1),
    last=st.lists(st.sampled_from(METADATA), max_size=3),
    comma=st.sampled_from([",", ", ", " , "]),
    ends=st.lists(st.sampled_from(["}", "}", "}", " }", "", "}}"]), min_size=1),
)
@example([['"id":1'], ['"id":2'], ['"id":"']], [METADATA[0]], ",", ["}"])
@example([['"id":1'], ['"more":{"x":1']], [METADATA[0]], ",", ["}"])
def test_what_remains_is_the_record_without_the_columns_or_no_object(
    starts: list[list[str]], last: list[str], comma: str, ends: list[str]
) -> None:
    records = [
        f"{{{comma.join([*start, *last])}{end}".encode()
        for start, end in zip(starts, cycle(ends), strict=False)
    ]
    for record, rest in zip(records, map(parsed, COLUMNS.without_all(records)), strict=True):
        received = parsed(record)
        # a column that is left makes the decoder of the stream reject the record
        is_left = rest is not None and not SDC_COLUMNS.isdisjoint(rest)
        values = (received or {}).items()
        expected = {name: value for name, value in values if name not in SDC_COLUMNS}
        assert rest is None or is_left or (received is not None and rest == expected)


def test_columns_that_are_as_long_as_in_the_record_before_are_removed() -> None:
    columns = MetadataColumns(SDC_COLUMNS)
    ends = {
        b', "_sdc_sequence": 17}': b'{"id": 1}',
        b', "_sdc_sequence": 18}': b'{"id": 1}',
        b', "_sdc_sequence": 1x}': b"",
        b'; "_sdc_sequence": 18}': b"",
        b', "_sdc_sequence": "a}': b"",
        b', "_sdc_deleted_at":1}': b"",
        b', "_sdc_batched_at":1}': b'{"id": 1}',
    }
    records = [b'{"id": 1%s' % end for end in ends for _ in range(200)]
    rest = [each for each in ends.values() for _ in range(200)]
    assert columns.without_all(records) == rest


@pytest.mark.parametrize(
    "record",
    [
        b'{"id":1,"_sdc_sequence":1,"_sdc_deleted_at":null}',
        b'{"id": 1, "_sdc_sequence": 1, "_sdc_batched_at": "x"}',
        b'{"_sdc_batched_at":"x","_sdc_sequence":1,"id":1}',
        b'{ "_sdc_batched_at": "x", "_sdc_deleted_at": null, "id": 1}',
        b'{"id":1}',
    ],
)
def test_columns_at_the_end_or_the_start_are_removed(record: bytes) -> None:
    assert parsed(MetadataColumns(SDC_COLUMNS).without(record)) == {"id": 1}


@pytest.mark.parametrize(
    "record",
    [
        b'{"id":1,"_sdc_deleted_at":"2026-03-10"}',
        b'{"_sdc_deleted_at":"2026-03-10","id":1}',
        b'{"id":1,"_sdc_sequence":1,"name":"a"}',
        b'{"id":1,"_sdc_sequence":1,"_sdc_other":1}',
        b'{"_sdc_sequence":1}',
    ],
)
def test_a_deleted_record_and_columns_in_between_take_the_ordinary_path(record: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, UnusualColumns)):
        MetadataColumns(SDC_COLUMNS).without(record)
