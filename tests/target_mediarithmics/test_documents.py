from __future__ import annotations

import contextlib
import copy
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.errors import MappingError
from singer_martech.values.json_codec import encode
from target_mediarithmics.document_types import DOCUMENT_TYPES
from target_mediarithmics.documents import DocumentCheck
from target_mediarithmics.rules import Page
from tests.sandbox.mediarithmics_documents import LineError, Rules, check_document
from tests.target_mediarithmics.conftest import record, schema, state
from tests.target_mediarithmics.document_examples import (
    ACCOUNT,
    ACTIVITY,
    AS_GIVEN,
    CHOICE,
    CONVERTED,
    EMAIL,
    EVENT,
    PROFILE,
    REJECTED,
    SEGMENT,
    UNUSUAL,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

FIELDS = sorted(
    {*ACTIVITY, *PROFILE, *SEGMENT, *CHOICE, *ACCOUNT, *EMAIL, *EVENT, *CHOICE["user_choice"]}
    | {"identifiers", "$user_identifiers", "$unique_key", "data_bag", "user_point_id"}
)
ODDITIES = (10**5000, Decimal("1e999990"), float("inf"), "\ud800", "9" * 5000)
WORDS = ("UPSERT", "UPDATE", "DELETE", "PARTIAL_UPDATE", "USER_EMAIL", "1605262037783", "", "a")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.sampled_from(WORDS)
    | st.text(max_size=3)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)


def check(name: str, document: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    return DocumentCheck(DOCUMENT_TYPES[name], "list")(document)


def vendor_refuses(name: str, document: dict[str, Any]) -> str | None:
    try:
        check_document(name, document, "APPLICATION_X_NDJSON", Rules())
    except LineError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("name", "document"), AS_GIVEN)
def test_valid_documents_are_sent_unchanged(
    name: str, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    checked, identifier = check(name, document)
    assert checked is document
    assert identifier
    assert vendor_refuses(name, document) is None
    assert caplog.messages == []


@pytest.mark.parametrize(("name", "document", "sent"), CONVERTED)
def test_values_get_the_type_that_the_page_names(
    name: str, document: dict[str, Any], sent: dict[str, Any]
) -> None:
    before = copy.deepcopy(document)
    checked = check(name, document)[0]
    assert encode(checked) == encode({key: sent[key] for key in checked})
    assert checked.keys() == sent.keys()
    assert document == before
    assert vendor_refuses(name, checked) is None


@pytest.mark.parametrize(("name", "document", "field"), REJECTED)
def test_a_document_that_breaks_a_rule_is_rejected_with_the_field(
    name: str, document: dict[str, Any], field: str
) -> None:
    with pytest.raises(MappingError) as caught:
        check(name, document)
    assert field in str(caught.value).partition(": ")[0].split(", ")


@pytest.mark.parametrize(("name", "document", "field"), UNUSUAL)
def test_unusual_documents_are_sent_unchanged_with_one_warning(
    name: str, document: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    check_all = DocumentCheck(DOCUMENT_TYPES[name], "list")
    assert all(check_all(document)[0] is document for _ in range(3))
    (warning,) = caplog.messages
    assert warning.startswith("stream 'list': a document is unusual: ")
    assert field in warning.partition("unusual: ")[2].partition(": ")[0].split(", ")


@pytest.mark.parametrize("name", DOCUMENT_TYPES)
def test_every_rule_names_its_page_and_has_an_example(name: str) -> None:
    document_type = DOCUMENT_TYPES[name]
    assert document_type.rejected
    warned = (*document_type.unusual, *document_type.recommended)
    for rules, examples in ((document_type.rejected, REJECTED), (warned, UNUSUAL)):
        for rule in rules:
            assert rule.source in Page
            fields = [field for other, _, field in examples if other == name]
            assert set(rule.field.split(", ")) & set(fields), rule


@pytest.mark.parametrize("field", FIELDS)
def test_an_odd_value_in_any_field_rejects_one_record_at_most(field: str) -> None:
    for (name, document), value in itertools.product(AS_GIVEN, ODDITIES):
        with contextlib.suppress(MappingError):
            encode(check(name, {**document, field: value})[0])


@pytest.mark.parametrize("name", DOCUMENT_TYPES)
def test_the_page_has_a_row_for_every_rule(name: str) -> None:
    text = Path(__file__).parents[2].joinpath("docs", "target-mediarithmics.md").read_text("utf-8")
    rejected_text = text.partition("### Rejected before sending")[2].partition("###")[0]
    warned = text.partition("### Sent with a warning")[2].partition("###")[0]
    kind = DOCUMENT_TYPES[name]
    for rules, table in ((kind.rejected, rejected_text), (kind.unusual + kind.recommended, warned)):
        for rule in rules:
            cells = [rule.source.value, *(f"`{field}`" for field in rule.field.split(", "))]
            assert [row for row in table.splitlines() if all(cell in row for cell in cells)], rule


def is_plain(name: str, document: dict[str, Any]) -> bool:
    plain = DOCUMENT_TYPES[name].plain
    return plain is not None and plain.matches(document)


@pytest.mark.parametrize(
    ("name", "document"),
    [("USER_ACTIVITY", ACTIVITY), ("USER_PROFILE", PROFILE), ("USER_SEGMENT", SEGMENT)],
)
def test_an_ordinary_document_is_plain(name: str, document: dict[str, Any]) -> None:
    assert is_plain(name, {**document, "$user_account_id": "7", "$email_hash": None})


@pytest.mark.parametrize(("name", "document", "_"), [*CONVERTED, *REJECTED, *UNUSUAL])
def test_no_plain_document_breaks_a_rule(name: str, document: dict[str, Any], _: Any) -> None:
    document_type = DOCUMENT_TYPES[name]
    if is_plain(name, document):
        assert all(convert(document) is document for convert in document_type.conversions)
        for rule in (*document_type.rejected, *document_type.unusual):
            assert not rule.is_broken(document)


@given(
    st.sampled_from([each for each in AS_GIVEN if is_plain(*each)]),
    st.sampled_from(FIELDS),
    JSON,
)
def test_no_changed_document_is_plain_and_breaks_a_rule(
    given: tuple[str, dict[str, Any]], field: str, value: Any
) -> None:
    name, document = given[0], {**given[1], field: value}
    test_no_plain_document_breaks_a_rule(name, document, None)


@given(
    st.sampled_from([each for each in AS_GIVEN if is_plain(*each)]),
    st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=1), max_size=4),
)
def test_plain_documents_become_together_what_each_becomes_alone(
    given: tuple[str, dict[str, Any]], changes: list[dict[str, Any]]
) -> None:
    name, example = given
    documents = [{**example, **change} for change in changes]
    together = DocumentCheck(DOCUMENT_TYPES[name], "list").plain(documents)
    if together is None:
        assert not all(is_plain(name, document) for document in documents)
    else:
        assert together == [check(name, document) for document in documents]


@given(json_values=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_no_document_raises_anything_but_a_mapping_error(json_values: dict[str, Any]) -> None:
    for document_type in DOCUMENT_TYPES.values():
        with contextlib.suppress(MappingError):
            encode(DocumentCheck(document_type, "list")(json_values)[0])


def test_seconds_are_rejected_with_the_filter_to_use() -> None:
    with pytest.raises(MappingError, match=r"\$ts: .* \| epoch_ms"):
        check("USER_ACTIVITY", {**ACTIVITY, "$ts": 1605262037})


def test_an_account_of_another_compartment_is_another_user() -> None:
    one, other = PROFILE, {**PROFILE, "compartment_id": "1"}
    assert check("USER_PROFILE", one)[1] != check("USER_PROFILE", other)[1]


def test_a_compartment_beside_a_hash_makes_no_other_user() -> None:
    one, other = SEGMENT, {**SEGMENT, "compartment_id": "1"}
    assert check("USER_SEGMENT", one)[1] == check("USER_SEGMENT", other)[1]


PROFILE_OF_RECORD = {
    **PROFILE,
    "user_account_id": "{{ id }}",
    "user_profile": {"name": "{{ name | upper }}", "half": "{{ amount / 2 }}"},
}


@pytest.mark.parametrize("keyword", ["title", "dependencies"])  # on the fast path, and without one
def test_records_of_one_block_are_mapped_as_each_alone(
    keyword: str, vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    message = json.loads(schema(name={}, amount={}))
    message["schema"][keyword] = {} if keyword == "dependencies" else "people"
    records = [
        record(id="1", name="ada", amount=3),
        record(id="2", name=None, amount=1.10),
        record(id=3, name="bob", amount=8),
        record(id="4", name="eve", amount="four"),
        record(id="", name="joe", amount=2),
        record(id="6", name="max", amount=10),
    ]
    mapping = {"list": {"document_type": "USER_PROFILE", "document": PROFILE_OF_RECORD}}
    run = load(json.dumps(message), *records, streams=mapping, max_rejected_records=2)
    assert run.error is None
    sent = {each["user_account_id"]: each["user_profile"] for each in vendor.documents()}
    assert [(key, each["name"], each["half"]) for key, each in sent.items()] == [
        ("1", "ADA", 1.5),
        ("2", None, 0.55),
        ("3", "BOB", 4),
        ("6", "MAX", 5),
    ]
    assert [(each["key"]["id"], each["reason"].partition(":")[0]) for each in run.rejected] == [
        ("4", "user_profile.half"),
        ("", "user_account_id"),
    ]


def test_an_unusual_document_reaches_the_vendor_byte_for_byte_and_the_vendor_decides(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    records = [
        {"id": 1, "$user_account_id": "7", "$ts": None, "$type": "RECOMMENDER", "$unique_key": ""},
        {"id": 2, "$user_account_id": "8", "$user_agent_id": "vec:8", "$type": "TOUCH"},
        {"id": 3, "$user_account_id": "9", "$user_agent_id": "vec:9", "$type": "VISIT"},
    ]
    run = load(
        schema(), *[record(**each) for each in records],
        streams={"list": {"document_type": "USER_ACTIVITY"}}, max_rejected_records=1,
    )  # fmt: skip
    assert run.error is None
    (upload,) = vendor.requests_to("/executions$", "POST")
    assert upload.body is not None
    assert [json.loads(line) for line in upload.body.splitlines()] == records
    assert [line["key"] for line in run.rejected] == [{"id": 3}]
    warnings = [line for line in run.log if "unusual" in line]
    assert len(warnings) == 2
    assert "several identifiers (vendor page: Bulk processing)" in warnings[0]
    assert "$type: must be one of" in warnings[1]


def test_documents_of_unknown_types_are_not_checked(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    streams = {"list": {"document_type": "USER_DEVICE_POINT_DELETION"}}
    run = load(schema(), record(id=1, anything=[1]), streams=streams)
    assert run.error is None
    assert vendor.documents() == [{"id": 1, "anything": [1]}]


def test_a_broken_rule_rejects_the_record_and_nothing_else(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(),
        record(id=1, **SEGMENT),
        record(id=2, **{**SEGMENT, "operation": "INSERT"}),
        record(id=3, **{**SEGMENT, "email_hash": "ffff"}),
        state({"n": 3}),
        streams={"list": {"document_type": "USER_SEGMENT"}},
        max_rejected_records=1,
    )
    assert run.error is None
    assert run.counts() == {"read": 3, "delivered": 2, "rejected": 1}
    assert run.states == [{"n": 3}]
    (line,) = run.rejected
    assert line["key"] == {"id": 2}
    assert line["reason"] == "operation: must be one of UPDATE, DELETE"
    assert line["record"]["operation"] == "INSERT"
    assert sorted(vendor.members("8")) == ["email_hash=5d41", "email_hash=ffff"]


def test_a_rejected_record_beyond_the_allowance_ends_the_run(
    vendor: Mediarithmics, load: Callable[..., Run]
) -> None:
    run = load(
        schema(),
        record(id=1, **SEGMENT),
        state({"n": 1}),
        record(id=2, **{**SEGMENT, "expiration_duration": None}),
        state({"n": 2}),
        streams={"list": {"document_type": "USER_SEGMENT"}},
    )
    assert "stream 'list': a record was rejected: expiration_duration:" in str(run.error)
    assert run.states == [{"n": 1}]
    assert list(vendor.members("8")) == ["email_hash=5d41"]
