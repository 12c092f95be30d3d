"""Reading a datamart's schema, and the types for a query's lines."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_mediarithmics.coercion import DATE
from tap_mediarithmics.object_types import FieldType, ObjectTypes, UnknownSchema, field_type
from tap_mediarithmics.otql import parse
from tap_mediarithmics.result_schema import (
    UntypableQuery,
    any_json,
    sampled_properties,
    typed_properties,
    unknown_names,
)

SCHEMA_TEXT = '''
######
"""What a person is."""
type UserPoint @TreeIndexRoot(index: "USER_INDEX", options: {a: [1, 2]}) {
  id: ID!
  "when it was first seen"
  creation_ts(unit: String = "ms"): Timestamp! @TreeIndex(index: "USER_INDEX")
  profiles: [UserProfile!]! @Mirror
  matrix: [[Int]]
}
interface Node { id: ID! }
type UserProfile implements Node & Other @Deprecated {
  id: ID!
  gender: Gender
  birth_date: Date @Property(path: "$birth_date")
  scores: [Double!]
  price: BigDecimal
  points: Int
  vip: Boolean
  seen: Bool
  rank: Number
  share: Float
  blob: Bean
  device: FormFactor
}
enum Gender { F @Label(text: "f") M }
scalar Money @specified
'''

QUERY = (
    "SELECT { id creation_ts matrix profiles { gender birth_date scores price points vip seen "
    "rank share blob device unheard_of } } FROM UserPoint"
)


def nullable(name: str, **more: Any) -> dict[str, Any]:
    return {"type": [name, "null"], **more}


def test_the_text_of_a_schema_types_every_scalar_list_object_and_enumeration() -> None:
    properties = typed_properties(parse(QUERY), ObjectTypes.from_text(SCHEMA_TEXT))
    assert properties == {
        "id": nullable("string"),
        "creation_ts": nullable("string", format="date-time"),
        "matrix": nullable("array", items=nullable("array", items=nullable("integer"))),
        "profiles": nullable(
            "array",
            items=nullable(
                "object",
                properties={
                    "gender": nullable("string"),
                    "birth_date": DATE,
                    "scores": nullable("array", items=nullable("number")),
                    "price": nullable("number"),
                    "points": nullable("integer"),
                    "vip": nullable("boolean"),
                    "seen": nullable("boolean"),
                    "rank": nullable("number"),
                    "share": nullable("number"),
                    "blob": any_json(),
                    "device": nullable("string"),
                    "unheard_of": any_json(),
                },
            ),
        ),
    }


def test_the_list_of_types_is_equivalent_except_for_enumerations() -> None:
    listed = ObjectTypes.from_list(
        [
            {
                "name": "T",
                "type": "OBJECT_TYPE",
                "fields": [
                    {"name": "id", "field_type": "ID!"},
                    {"name": "gender", "field_type": "Gender"},
                    {"name": "odd", "field_type": "Map<String>"},
                ],
            },
            {"name": "broken"},
        ]
    )
    query = parse("SELECT { id gender odd } FROM T")
    assert unknown_names(query, listed) == {"Gender"}
    assert typed_properties(query, listed) == {
        "id": nullable("string"),
        "gender": any_json(),
        "odd": any_json(),
    }


def test_an_invalid_selection_is_typed_as_any_json() -> None:
    types = ObjectTypes.from_text("type T { a: Int b: U } type U { x: Int }")
    assert typed_properties(parse("SELECT { a { b } b } FROM T"), types) == {
        "a": any_json(),
        "b": any_json(),
    }


def test_a_type_that_the_schema_lacks_cannot_be_typed() -> None:
    with pytest.raises(UntypableQuery, match="no object type Ghost"):
        typed_properties(parse("SELECT { id } FROM Ghost"), ObjectTypes({}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("String", FieldType("String")),
        ("[UserProfile!]!", FieldType("UserProfile", 1)),
        (" [ [ Int ]! ] ", FieldType("Int", 2)),
        ("[Int", None),
        ("Map<String, Int>", None),
        ("", None),
    ],
)
def test_field_types_are_read_strictly(text: str, expected: FieldType | None) -> None:
    assert field_type(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "type T { a Int }",
        "type T { a: Int",
        "type",
        "",
        "type T { a: " + "[" * 5000 + "Int" + "]" * 5000 + " }",
        "type T { a: Int } §",
        "<html></html>",
    ],
)
def test_an_invalid_schema_is_an_error(text: str) -> None:
    with pytest.raises(UnknownSchema):
        ObjectTypes.from_text(text)


def test_extensions_add_fields_and_other_definitions_are_skipped() -> None:
    types = ObjectTypes.from_text(
        "type T { a: Int } extend type T { b: [Int] } type Empty union U = T | Empty"
    )
    assert types.fields == {"T": {"a": FieldType("Int"), "b": FieldType("Int", 1)}, "Empty": {}}


@given(st.text(alphabet='type enum T{}:[]!@()"# \na', max_size=60))
def test_no_text_raises_an_unexpected_error(text: str) -> None:
    with contextlib.suppress(UnknownSchema):
        assert isinstance(ObjectTypes.from_text(text).fields, dict)


def test_a_sample_types_the_fields_on_which_its_lines_agree() -> None:
    head = (
        b'{"id":"1","n":1,"x":null,"mixed":1,"tags":["a"],"o":{"a":true,"b":1}}\n'
        b'{"id":"2","n":2.5,"mixed":"b","tags":[],"o":{"a":null,"c":[{"d":1}]}}\n'
        b"not json\n"
        b'{"id":"3","n":'
    )
    assert sampled_properties(head) == {
        "id": nullable("string"),
        "n": nullable("number"),
        "x": any_json(),
        "mixed": any_json(),
        "tags": nullable("array", items=nullable("string")),
        "o": nullable(
            "object",
            properties={
                "a": nullable("boolean"),
                "b": nullable("integer"),
                "c": nullable(
                    "array", items=nullable("object", properties={"d": nullable("integer")})
                ),
            },
        ),
    }


def test_an_object_with_data_as_keys_gets_no_columns() -> None:
    fields = ",".join(f'"user{number}":1' for number in range(400))
    assert sampled_properties(b'{"o":{%s}}' % fields.encode()) == {"o": nullable("object")}


def test_an_empty_sample_gives_no_columns() -> None:
    assert sampled_properties(b"") == {}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("worst", ["[", "]!", "a", "! "])
def test_a_field_type_of_a_million_characters_is_read_in_linear_time(worst: str) -> None:
    text = worst * (1_000_000 // len(worst))
    assert field_type(f"{text}?") is None
