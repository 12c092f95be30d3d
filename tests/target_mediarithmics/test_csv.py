from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.errors import MappingError
from target_mediarithmics import csv_rows
from target_mediarithmics.stream_mapping import StreamMapping
from target_mediarithmics.target import TargetMediarithmics
from tests.target_mediarithmics.conftest import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

SEGMENT: dict[str, Any] = {
    "document_type": "USER_SEGMENT",
    "mime_type": "TEXT_CSV",
    "document": {
        "operation": "UPDATE",
        "email_hash": "{{ hash }}",
        "segment_id": "8",
        "expiration_duration": 1440,
        "data_bag": "{{ note }}",
    },
}
WHOLE = {"document_type": "USER_SEGMENT", "mime_type": "TEXT_CSV"}
FIXED = {"operation": "UPDATE", "segment_id": "8", "expiration_duration": 60}
COLUMNS: dict[str, Any] = {"email_hash": {}, **{name: {} for name in FIXED}}


def body(vendor: Mediarithmics) -> bytes:
    (upload,) = vendor.requests_to("/executions$", "POST")
    assert upload.headers["content-type"] == "text/csv"
    assert upload.body is not None
    return upload.body


def test_flat_documents_are_sent_as_csv_with_a_header(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(), record(id=1, hash="a", note='{"k": "v"}'), record(id=2, hash="b"),
        streams={"list": SEGMENT},
    )  # fmt: skip
    assert run.error is None
    assert body(vendor) == (
        b"operation,email_hash,segment_id,expiration_duration,data_bag\r\n"
        b'UPDATE,a,8,1440,"{""k"": ""v""}"\r\n'
        b"UPDATE,b,8,1440,\r\n"
    )
    assert run.summaries["list"]["bytes"] == len(body(vendor))
    assert vendor.imports()[0]["mime_type"] == "TEXT_CSV"
    assert vendor.members("8") == {"email_hash=a": 1440, "email_hash=b": 1440}


def member(email_hash: str, **fields: Any) -> str:
    return record(email_hash=email_hash, **FIXED, **fields)


def test_the_columns_of_whole_records_are_those_of_the_schema(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(keys=(), **COLUMNS, name={}, score={}, active={}),
        member("a", id=1, score=1.5, active=True),
        member("b", id=2, name="a\nb", active=None),
        streams={"list": WHOLE},
    )
    assert run.error is None
    assert body(vendor) == (
        b"id,email_hash,operation,segment_id,expiration_duration,name,score,active\r\n"
        b"1,a,UPDATE,8,60,,1.5,true\r\n"
        b'2,b,UPDATE,8,60,"a\nb",,\r\n'
    )


@pytest.mark.parametrize("properties", [{}, {"properties": {}}])
def test_a_stream_without_known_columns_needs_a_document(
    load: Callable[..., Run], properties: dict[str, Any]
) -> None:
    message = {"type": "SCHEMA", "stream": "list", "schema": properties, "key_properties": []}
    run = load(json.dumps(message), member("a"), streams={"list": WHOLE})
    assert "stream 'list', key 'document': is needed for TEXT_CSV" in str(run.error)


def test_every_execution_has_the_header(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    run = load(
        schema(), *[record(id=1, hash=each) for each in "abcde"], streams={"list": SEGMENT},
        max_request_rows=2,
    )  # fmt: skip
    assert run.error is None
    bodies = [request.body or b"" for request in vendor.requests_to("/executions$", "POST")]
    assert [each.count(b"UPDATE") for each in bodies] == [2, 2, 1]
    assert {each.partition(b"\r\n")[0] for each in bodies} == {
        b"operation,email_hash,segment_id,expiration_duration,data_bag"
    }


def test_a_nested_value_rejects_the_record(load: Callable[..., Run]) -> None:
    run = load(
        schema(keys=(), **COLUMNS, tags={}), member("a", tags=["a"]), member("b", tags="a"),
        streams={"list": WHOLE}, max_rejected_records=1,
    )  # fmt: skip
    assert run.counts() == {"read": 2, "delivered": 1, "rejected": 1}
    assert run.rejected[0]["reason"].startswith("tags: is nested")


def test_a_value_without_a_column_rejects_the_record(load: Callable[..., Run]) -> None:
    run = load(
        schema(keys=(), **COLUMNS), member("a", other=1), streams={"list": WHOLE},
        max_rejected_records=1,
    )  # fmt: skip
    assert run.rejected[0]["reason"].startswith("other: is not among the columns")


def test_half_a_surrogate_pair_rejects_the_record(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(), record(id=1, hash="\ud800"), record(id=2, hash="b"),
        streams={"list": SEGMENT}, max_rejected_records=1,
    )  # fmt: skip
    assert run.error is None
    assert run.counts() == {"read": 2, "delivered": 1, "rejected": 1}
    assert run.rejected[0]["reason"].startswith("half of a surrogate pair")
    assert vendor.members("8") == {"email_hash=b": 1440}


def test_numbers_of_thousands_of_digits_reject_the_record(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    mapping = {**SEGMENT, "document": {**SEGMENT["document"], "expiration_duration": "{{ n }}"}}
    run = load(
        schema(), record(id=1, hash="a", n="9" * 4301), record(id=2, hash="b", n="60"),
        streams={"list": mapping}, max_rejected_records=1,
    )  # fmt: skip
    assert run.error is None
    assert run.rejected[0]["reason"].startswith("expiration_duration: must be a whole number")
    assert vendor.members("8") == {"email_hash=b": 60}


def test_an_object_as_data_bag_becomes_its_json_text(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(schema(), record(id=1, hash="a", note={"k": 1.50}), streams={"list": SEGMENT})
    assert run.error is None
    assert b'UPDATE,a,8,1440,"{""k"":1.5}"\r\n' in body(vendor)


def test_a_number_that_has_no_text_is_named_with_its_column() -> None:
    with pytest.raises(MappingError, match=r"^n: "):
        csv_rows.row(("n",), {"n": 10**5000})


def test_documents_of_one_user_stay_in_order_when_the_columns_change(
    settings: dict[str, Any],
) -> None:
    target = TargetMediarithmics(config={**settings, "streams": {"list": WHOLE}})
    mapping = StreamMapping.from_mapping("list", WHOLE)
    before = target.import_destination("list", mapping, ("email_hash",))
    after = target.import_destination("list", mapping, ("email_hash", "name"))
    assert before is not after
    assert before.import_name == after.import_name


def test_a_changed_schema_changes_the_columns(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(keys=(), **COLUMNS), member("a"),
        schema(keys=(), **COLUMNS, name={}), member("b", name="n"), streams={"list": WHOLE},
    )  # fmt: skip
    assert run.error is None
    first, second = [request.body or b"" for request in vendor.requests_to("/executions$", "POST")]
    assert first.splitlines()[1] == b",a,UPDATE,8,60"
    assert second.splitlines()[1] == b",b,UPDATE,8,60,n"
    assert len(vendor.imports()) == 1


def test_a_deletion_is_a_row_too(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    run = load(
        schema(), record(id=1, hash="a"), record(id=1, hash="a", _sdc_deleted_at="2026-01-01"),
        streams={"list": SEGMENT}, deletes="apply",
    )  # fmt: skip
    assert run.error is None
    assert body(vendor).splitlines()[2] == b"DELETE,a,8,1440,"
    assert vendor.members("8") == {}


@given(
    st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True).flatmap(
        lambda columns: st.tuples(
            st.just(columns),
            st.lists(
                st.dictionaries(
                    st.sampled_from(columns),
                    st.text(
                        alphabet=st.characters(
                            exclude_categories=["Cs"], exclude_characters="\x00"
                        ),
                        max_size=6,
                    ),
                ),
                max_size=5,
            ),
        )
    )
)
def test_a_csv_reader_reads_what_was_written(case: tuple[list[str], list[dict[str, str]]]) -> None:
    columns, documents = case
    columns = [name.replace("\x00", "0") for name in columns]
    if len(set(columns)) != len(columns):
        return
    documents = [{k.replace("\x00", "0"): v for k, v in each.items()} for each in documents]
    content = csv_rows.header(columns) + b"".join(
        csv_rows.row(columns, document) + b"\n" for document in documents
    )
    read = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    assert read[0] == columns
    assert read[1:] == [[each.get(name, "") for name in columns] for each in documents]
