from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from target_mediarithmics import csv_rows
from tests.target_mediarithmics.conftest import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

SEGMENT = {
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
WHOLE = {"document_type": "ANYTHING", "mime_type": "TEXT_CSV"}


def body(vendor: Mediarithmics) -> bytes:
    (upload,) = vendor.requests_to("/executions$", "POST")
    assert upload.headers["content-type"] == "text/csv"
    assert upload.body is not None
    return upload.body


def test_flat_documents_go_as_csv_with_a_header(
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


def test_the_columns_of_whole_records_are_those_of_the_schema(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(name={}, score={}, active={}),
        record(id=1, score=1.5, active=True),
        record(id=2, name="a\nb", active=None),
        streams={"list": WHOLE},
    )
    assert run.error is None
    assert body(vendor) == b'id,name,score,active\r\n1,,1.5,true\r\n2,"a\nb",,\r\n'


def test_every_execution_has_the_header(vendor: Mediarithmics, load: Callable[..., Run]) -> None:
    run = load(
        schema(), *[record(id=number) for number in range(5)], streams={"list": WHOLE},
        max_request_rows=2,
    )  # fmt: skip
    assert run.error is None
    bodies = [request.body for request in vendor.requests_to("/executions$", "POST")]
    assert bodies == [b"id\r\n0\r\n1\r\n", b"id\r\n2\r\n3\r\n", b"id\r\n4\r\n"]


def test_a_nested_value_rejects_the_record(load: Callable[..., Run]) -> None:
    run = load(
        schema(tags={}), record(id=1, tags=["a"]), record(id=2, tags="a"),
        streams={"list": WHOLE}, max_rejected_records=1,
    )  # fmt: skip
    assert run.counts() == {"read": 2, "delivered": 1, "rejected": 1}
    assert run.rejected[0]["reason"].startswith("tags: is nested")


def test_a_value_without_a_column_rejects_the_record(load: Callable[..., Run]) -> None:
    run = load(schema(), record(id=1, other=1), streams={"list": WHOLE}, max_rejected_records=1)
    assert run.rejected[0]["reason"].startswith("other: is no column")


def test_a_changed_schema_changes_the_columns(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(), record(id=1), schema(name={}), record(id=2, name="n"), streams={"list": WHOLE}
    )
    assert run.error is None
    bodies = [request.body for request in vendor.requests_to("/executions$", "POST")]
    assert bodies == [b"id\r\n1\r\n", b"id,name\r\n2,n\r\n"]
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
