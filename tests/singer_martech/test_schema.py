from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singer_martech.values.json_codec import decode_object
from singer_martech.values.schema import normalize
from singer_martech.values.validation import RecordValidator

INPUTS = sorted((Path(__file__).parent / "schemas").glob("*.json"))
"""Schemas of real taps, with the ignored keywords and accepted records."""

KEYWORDS = (
    *("$comment", "$id", "$ref", "$schema", "additionalItems", "additionalProperties", "allOf"),
    *(
        "anyOf",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
    ),
    *("dependencies", "description", "else", "enum", "examples", "exclusiveMaximum", "format"),
    *("exclusiveMinimum", "if", "inclusion", "items", "maxItems", "maxLength", "maxProperties"),
    *("maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf"),
    *("pattern", "patternProperties", "prefixItems", "properties", "propertyNames", "readOnly"),
    *("required", "then", "title", "type", "uniqueItems", "writeOnly", "$defs", "selected"),
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from(("string", "number", "STRING", "#", "#/properties/a", "^a", "(", "Infinity")),
)
_ODD = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYWORDS) | st.text(max_size=2), inner, max_size=5)
    ),
    max_leaves=20,
)
_SCHEMA = st.dictionaries(st.sampled_from(KEYWORDS), _ODD, max_size=6)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_valid_keywords_of_a_schema_are_enforced(path: Path) -> None:
    case = decode_object(path.read_bytes())
    schema, warnings = normalize(case["schema"])
    ignored = [[each.keyword, name] for each in warnings for name in each.properties]
    assert sorted(ignored) == sorted(case["ignored"])
    validator = RecordValidator("orders", case["schema"])
    for record in case["valid"]:
        assert validator.is_valid(record), record
    for record in case["invalid"]:
        assert not validator.is_valid(record), record
    assert normalize(schema)[1] == []


@given(_SCHEMA, st.dictionaries(st.sampled_from("abc"), _ODD))
def test_any_object_becomes_a_valid_schema(schema: dict[str, Any], record: dict[str, Any]) -> None:
    schema = {"properties": {"a": schema, "b": {}}, **schema}
    normalized, _ = normalize(schema)
    assert isinstance(normalized["properties"], dict)
    assert all(isinstance(each, dict) for each in normalized["properties"].values())
    assert normalize(normalized)[1] == []
    assert RecordValidator("orders", schema).is_valid(record) in {True, False}


def test_a_warning_names_stream_property_and_keyword_once(caplog: pytest.LogCaptureFixture) -> None:
    properties = {f"n{number}": {"maxLength": -1} for number in range(9)}
    RecordValidator("orders", {"properties": {"a\nb": {"type": "any"}, **properties}})
    first, second = [record.getMessage() for record in caplog.records]
    assert first == (
        "stream 'orders': the schema keyword 'type' of 'a\\nb' is ignored: it names an unknown type"
    )
    assert second == (
        "stream 'orders': the schema keyword 'maxLength' of 'n0', 'n1', 'n2', 'n3', 'n4' "
        "and 4 more is ignored: it must be an integer of at least 0"
    )


def _doubling(**keywords: Any) -> dict[str, Any]:
    """Return a schema of definitions that each refer to the next one twice."""
    definitions: dict[str, Any] = {"d40": {"type": "string"}}
    for number in range(40):
        text = json.dumps(keywords).replace("NEXT", f"#/definitions/d{number + 1}")
        definitions[f"d{number}"] = json.loads(text)
    properties = {"x": {"$ref": "#/definitions/d0"}, "y": {"type": "integer"}}
    return {"properties": properties, "definitions": definitions}


_NEXT = {"$ref": "NEXT"}
_SELF = {"$ref": "#/properties/x"}


@pytest.mark.parametrize(
    "schema",
    [
        _doubling(properties={"a": _NEXT, "b": _NEXT}),
        _doubling(allOf=[_NEXT, _NEXT]),
        _doubling(anyOf=[_NEXT, {"items": _NEXT}]),
        {"properties": {"x": _SELF, "y": {"type": "integer"}}},
        {"properties": {"x": {"allOf": [{}, _SELF]}, "y": {"type": "integer"}}},
        {
            "properties": {
                "x": {"anyOf": [{"items": _SELF}, {"items": _SELF}, {"type": "string"}]},
                "y": {"type": "integer"},
            }
        },
        {
            "properties": {
                "x": {"properties": {"a": _SELF}, "patternProperties": {".": _SELF}},
                "y": {"type": "integer"},
            }
        },
    ],
)
def test_exponential_references_are_bounded_and_the_rest_is_enforced(schema: Any) -> None:
    started = time.monotonic()
    validator = RecordValidator("orders", schema)
    assert not validator.is_valid({"x": "a", "y": "b"})
    assert validator.is_valid({"x": "a", "y": 1})
    nested: Any = 1
    for _ in range(60):
        nested = [{"a": nested}]
    validator.is_valid({"x": nested})
    assert time.monotonic() - started < 20
    assert "$ref" in {warning.keyword for warning in normalize(schema)[1]}


_MANY = [{"required": [f"w{number}"]} for number in range(3000)]


@pytest.mark.parametrize(
    ("keyword", "subschema"),
    [
        ("anyOf", {"properties": {"x": {"items": {"anyOf": _MANY}}}}),
        ("anyOf", {"anyOf": [{"properties": {"x": {"items": each}}} for each in _MANY]}),
        ("oneOf", {"properties": {"x": {"items": {"anyOf": [{"oneOf": _MANY}, {}]}}}}),
        ("allOf", {"properties": {"x": {"allOf": [{"anyOf": _MANY[:900]}] * 2}}}),
        ("not", {"properties": {"x": {"additionalProperties": {"not": {"anyOf": _MANY}}}}}),
        ("dependencies", {"dependencies": {str(number): ["y"] for number in range(3000)}}),
        ("patternProperties", {"patternProperties": {f"^z{n}$": {} for n in range(3000)}}),
    ],
)
def test_subschemas_beyond_a_thousand_for_one_value_are_ignored(
    keyword: str, subschema: Any
) -> None:
    properties = {**subschema.get("properties", {}), "y": {"type": "integer"}}
    schema = {**subschema, "properties": properties}
    warnings = normalize(schema)[1]
    assert keyword in {warning.keyword for warning in warnings}
    assert any("more than 1,000 subschemas" in warning.reason for warning in warnings)
    validator = RecordValidator("orders", schema)
    started = time.process_time()
    assert validator.is_valid({"x": [{"w2999": 1}] * 3000, "y": 1})
    assert not validator.is_valid({"y": "b"})
    assert time.process_time() - started < 5


def test_many_alternatives_of_different_values_are_enforced() -> None:
    one_of = {"oneOf": [{"const": number, "title": str(number)} for number in range(700)]}
    schema = {"properties": dict.fromkeys("abcde", one_of), "anyOf": [{}] * 200}
    assert normalize(schema)[1] == []
    assert not RecordValidator("orders", schema).is_valid({"a": 1, "e": 700})


def test_a_recursive_schema_is_enforced_at_every_depth() -> None:
    node = {
        "type": "object",
        "required": ["v"],
        "properties": {
            "v": {"type": "integer"},
            "left": {"$ref": "#/definitions/node"},
            "right": {"anyOf": [{"type": "null"}, {"$ref": "#/definitions/node"}]},
        },
    }
    schema = {"properties": {"tree": {"$ref": "#/definitions/node"}}, "definitions": {"node": node}}
    assert normalize(schema)[1] == []
    validator = RecordValidator("orders", schema)
    good: Any = {"v": 1, "right": None}
    bad: Any = {"v": "1"}
    for _ in range(20):
        good = {"v": 1, "left": good, "right": good} if _ < 5 else {"v": 1, "right": good}
        bad = {"v": 1, "left": bad, "right": {"v": 2}}
    assert validator.is_valid({"tree": good})
    assert not validator.is_valid({"tree": bad})


def test_a_schema_nested_too_deep_is_ignored_there() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(5000):
        schema = {"properties": {"a": schema}}
    normalized, warnings = normalize(schema)
    assert [warning.reason for warning in warnings] == ["the schema is nested too deep"]
    assert RecordValidator("orders", normalized).is_valid({"a": {"a": {}}})


def test_a_remote_reference_is_never_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        references = {"a": {"$ref": url}, "b": {"items": {"$ref": f"{url}#/x"}}}
        schema = {"$id": url, "properties": {**references, "c": {"type": "integer"}}}
        validator = RecordValidator("orders", schema)
        assert validator.is_valid({"a": 1, "b": [1], "c": 1})
        assert not validator.is_valid({"c": "x"})
        with pytest.raises(BlockingIOError):
            server.accept()
