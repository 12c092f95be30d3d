from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from singer_martech.http.errors import RequestRejected
from target_monetate.field_types import data_type
from target_monetate.schema_evolution import add_missing_fields
from tests.target_monetate.conftest import KEY, NUMBER, TEXT, record_message, schema_message
from tests.target_monetate.test_auth import client_of

if TYPE_CHECKING:
    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox
    from tests.target_monetate.conftest import Loader

ID = {"id": {"data_type": "STRING", "identifier": True, "unique_key": True}}


@pytest.fixture
def people(monetate: Monetate) -> Monetate:
    monetate.add_dataset("people", {**ID, "name": "STRING"})
    return monetate


def types_of(monetate: Monetate, dataset: str = "people") -> dict[str, str]:
    found = monetate.dataset(dataset)
    assert found is not None
    return {name: field.data_type for name, field in found.fields.items()}


def patches(monetate: Monetate) -> list[Any]:
    return monetate.requests_to("/schema/people/$", "PATCH")


def test_unknown_fields_reject_their_rows(load: Loader, people: Monetate) -> None:
    load.rows(
        {"id": "1", "name": "Ann"},
        {"id": "2", "name": "Bob", "city": "Bern"},
        stream="people",
        max_rejected_records=1,
    )
    assert [row["id"] for row in people.rows("people")] == ["1"]
    (reject,) = load.rejects()
    assert "the dataset 'people' has no field 'city'" in reject["reason"]
    assert not patches(people)


def test_unknown_fields_are_added_with_the_types_of_the_schema(
    load: Loader, people: Monetate
) -> None:
    properties = {
        "id": {"type": ["integer", "string"]},
        "text": TEXT,
        "whole": {"type": "integer"},
        "number": NUMBER,
        "truth": {"type": ["null", "boolean"]},
        "moment": {"type": "string", "format": "date-time"},
        "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "clock": {"type": "string", "format": "time"},
        "tags": {"type": "array", "items": {"type": ["string", "null"]}},
        "parts": {"type": "array", "items": {"type": "object"}},
        "object": {"type": "object", "properties": {}},
        "mixed": {"type": ["string", "number"]},
        "anything": {},
        "_sdc_batched_at": {"type": "string", "format": "date-time"},
        "_sdc_source": TEXT,
    }
    record = {
        "id": 1,
        "text": "a",
        "whole": 1,
        "number": 1.5,
        "truth": True,
        "moment": "2024-01-02T03:04:05",
        "day": "2024-01-02",
        "clock": "03:04",
        "tags": ["a", "b,c"],
        "parts": [{"a": 1}],
        "object": {"a": 1},
        "mixed": 5,
        "anything": "x",
        "_sdc_batched_at": "2024-01-02T03:04:05Z",
        "_sdc_source": "crm",
    }
    load(
        schema_message("people", properties, ["id"]),
        record_message("people", **record),
        add_missing_fields=True,
    )
    assert types_of(people) == {
        "id": "STRING",
        "name": "STRING",
        "text": "STRING",
        "whole": "NUMBER",
        "number": "NUMBER",
        "truth": "BOOLEAN",
        "moment": "DATETIME",
        "day": "DATETIME",
        "clock": "STRING",
        "tags": "MULTI_STRING",
        "parts": "STRING",
        "object": "STRING",
        "mixed": "STRING",
        "anything": "STRING",
        "_sdc_source": "STRING",
    }
    assert people.row("people", "1") == {
        **{name: value for name, value in record.items() if name != "_sdc_batched_at"},
        "id": "1",
        "name": None,
        "moment": "2024-01-02T03:04:05Z",
        "day": "2024-01-02T00:00:00Z",
        "tags": 'a,"b,c"',
        "parts": '[{"a":1}]',
        "object": '{"a":1}',
        "mixed": "5",
    }
    assert len(patches(people)) == 1


def test_a_schema_that_grows_adds_what_is_new(load: Loader, people: Monetate) -> None:
    load(
        schema_message("people", {"id": KEY, "a": TEXT}, ["id"]),
        record_message("people", id="1", a="x"),
        schema_message("people", {"id": KEY, "a": TEXT, "b": NUMBER}, ["id"]),
        record_message("people", id="2", a="x", b=2),
        add_missing_fields=True,
    )
    assert [list(each.json["fields"]) for each in patches(people)] == [["a"], ["b"]]
    assert [row["b"] for row in people.rows("people")] == [None, 2]


def test_fields_of_a_mapping_are_typed_by_what_they_are_made_of(
    load: Loader, people: Monetate
) -> None:
    row = {
        "id": "{{ id }}",
        "points": "{{ record.loyalty.points }}",
        "greeting": "Dear {{ name }}",
        "hash": "{{ name | sha256 }}",
        "seen": "{{ at | iso }}",
        "tags": ["{{ name }}", "x"],
        "adult": "{{ age >= 18 }}",
        "source": "crm",
        "weight": 3,
        "flag": True,
        "copy": {"name": "{{ name }}"},
        "from": "{{ stream }}",
    }
    properties = {
        "id": KEY,
        "name": TEXT,
        "age": NUMBER,
        "at": NUMBER,
        "loyalty": {"type": "object", "properties": {"points": NUMBER}},
    }
    load(
        schema_message("people", properties, ["id"]),
        record_message("people", id="1", name="Ann", age=20, at=0, loyalty={"points": 7}),
        streams={"people": {"row": row}},
        add_missing_fields=True,
    )
    types = types_of(people)
    assert types == {
        "id": "STRING",
        "name": "STRING",
        "points": "NUMBER",
        "greeting": "STRING",
        "hash": "STRING",
        "seen": "DATETIME",
        "tags": "MULTI_STRING",
        "adult": "BOOLEAN",
        "source": "STRING",
        "weight": "NUMBER",
        "flag": "BOOLEAN",
        "copy": "STRING",
        "from": "STRING",
    }
    stored = people.row("people", "1")
    assert stored is not None
    assert (stored["points"], stored["seen"], stored["tags"], stored["adult"]) == (
        7,
        "1970-01-01T00:00:00Z",
        "Ann,x",
        True,
    )


def test_a_field_whose_type_cannot_be_inferred_stops_the_run(
    load: Loader, people: Monetate
) -> None:
    streams = {"people": {"row": {"id": "{{ id }}", "double": "{{ age * 2 }}"}}}
    with pytest.raises(MartechError, match="type of the new field 'double' cannot be inferred"):
        load(
            schema_message("people", {"id": KEY, "age": NUMBER}, ["id"]),
            streams=streams,
            add_missing_fields=True,
        )
    assert not patches(people)


def test_the_type_of_an_existing_field_is_not_inferred(load: Loader, people: Monetate) -> None:
    streams = {"people": {"row": {"id": "{{ id }}", "name": "{{ age * 2 }}"}}}
    load(
        schema_message("people", {"id": KEY, "age": NUMBER}, ["id"]),
        record_message("people", id="1", age=4),
        streams=streams,
        add_missing_fields=True,
    )
    assert people.rows("people") == [{"id": "1", "name": "8"}]


def test_more_fields_than_a_dataset_may_have_stop_the_run_before_anything_is_sent(
    load: Loader, people: Monetate
) -> None:
    properties = {"id": KEY, **{f"f{number}": TEXT for number in range(39)}}
    with pytest.raises(MartechError) as caught:
        load(
            schema_message("people", properties, ["id"]),
            record_message("people", id="1"),
            add_missing_fields=True,
        )
    assert "stream 'people': the dataset 'people' has 2 fields; with 'f0', " in str(caught.value)
    assert "it would have 41; the maximum is 40" in str(caught.value)
    assert not patches(people)
    assert not people.posts


def test_forty_fields_are_allowed(load: Loader, people: Monetate) -> None:
    properties = {"id": KEY, **{f"f{number}": TEXT for number in range(38)}}
    load(
        schema_message("people", properties, ["id"]),
        record_message("people", id="1", f37="x"),
        add_missing_fields=True,
    )
    assert len(types_of(people)) == 40


def test_a_field_added_by_another_process_keeps_its_type(people: Monetate) -> None:
    client = client_of(people)
    stale = client.dataset("people")
    client.add_fields("people", {"points": "NUMBER"})
    wanted = {"points": "STRING", "city": "STRING"}
    now = add_missing_fields(client, stale, wanted, dry_run=False)
    assert now.fields["points"].data_type == "NUMBER"
    assert types_of(people) == {
        "id": "STRING",
        "name": "STRING",
        "points": "NUMBER",
        "city": "STRING",
    }


def test_many_processes_may_add_the_same_fields_at_once(people: Monetate) -> None:
    wanted = {f"f{number}": "NUMBER" for number in range(10)}

    def add(first: int) -> dict[str, str]:
        client = client_of(people)
        mine = dict(list(wanted.items())[first:] + list(wanted.items())[:first])
        mine.pop(f"f{first}")
        dataset = add_missing_fields(client, client.dataset("people"), mine, dry_run=False)
        return {name: dataset.fields[name].data_type for name in mine}

    with ThreadPoolExecutor(8) as pool:
        for added in pool.map(add, range(8)):
            assert set(added.values()) == {"NUMBER"}
    assert {**types_of(people), **wanted} == types_of(people)


def test_a_field_is_added_once_if_the_response_is_lost(people: Monetate, sandbox: Sandbox) -> None:
    sandbox.faults.add("monetate", "/schema/people/", method="PATCH", reset="after")
    client = client_of(people)
    stale = client.dataset("people")
    add_missing_fields(client, stale, {"city": "STRING"}, dry_run=False)
    assert types_of(people)["city"] == "STRING"
    assert [request.status for request in patches(people)] == [None, 400]


@pytest.mark.usefixtures("people")
def test_a_field_that_the_vendor_rejects_stops_the_run(load: Loader) -> None:
    with pytest.raises(MartechError, match=r"stream 'people': the fields 'NAME' cannot be added"):
        load(schema_message("people", {"id": KEY, "NAME": TEXT}, ["id"]), add_missing_fields=True)


def test_a_rejected_credential_is_not_reported_as_a_rejected_field(
    people: Monetate, sandbox: Sandbox
) -> None:
    sandbox.faults.add("monetate", "/schema/people/", method="PATCH", status=403)
    client = client_of(people)
    with pytest.raises(RequestRejected, match="status 403"):
        add_missing_fields(client, client.dataset("people"), {"a": "STRING"}, dry_run=False)


def test_a_dry_run_adds_nothing_and_continues(load: Loader, people: Monetate) -> None:
    load(
        schema_message("people", {"id": KEY, "city": TEXT}, ["id"]),
        record_message("people", id="1", city="Bern"),
        add_missing_fields=True,
        dry_run=True,
    )
    assert {request.method for request in people.requests} == {"GET"}
    assert any("would add to the dataset 'people': city (STRING)" in line for line in load.lines())
    assert load.summaries()["people"]["rejected"] == 0


def test_null_alone_is_text() -> None:
    assert data_type({"type": "null"}) == "STRING"
    assert data_type({"type": "array"}) == "STRING"
    assert data_type({"oneOf": [{"type": "number"}, {"type": "integer"}]}) == "NUMBER"
