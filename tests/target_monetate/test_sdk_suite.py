"""The SDK's tests of targets, each followed by a check of what Monetate received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import SuiteConfig
from singer_sdk.testing.runners import TargetTestRunner

from target_monetate.target import TargetMonetate
from tests.kit.sdk_suite import target_suite

if TYPE_CHECKING:
    from tests.sandbox.monetate import Monetate
    from tests.target_monetate.conftest import Loader

_KEYS = {
    "TestCamelcase": "Id",
    "ForecastingTypeToCategory": "Id",
    "special_chars": "_id",
    "test_object_schema_with_properties": "object_store",
    "test_object_schema_no_properties": "object_store",
}
_STREAMS = [
    *_KEYS,
    "test_array_data",
    "test_duplicate_records",
    "test_strings",
    "test_strings_in_objects",
    "test_strings_in_arrays",
    "test_no_pk",
    "test_optional_attributes",
    "example_stream",
    "test_record_before_schema",
    "test_record_missing_key_property",
    "record_missing_fields",
    "test_schema_updates",
]
_EXPECTED: dict[str, dict[str, list[dict[str, Any]]]] = {
    "array_data": {
        "test_array_data": [
            {"id": "1", "fruits": "apple,orange,pear"},
            {"id": "2", "fruits": "banana,apple"},
            {"id": "3", "fruits": "pear"},
            {"id": "4", "fruits": "orange,banana,apple,pear"},
        ]
    },
    "camelcase": {
        "TestCamelcase": [
            {"Id": "1", "clientName": "Gitter Windows Desktop App"},
            {"Id": "2", "clientName": "Gitter iOS App"},
        ]
    },
    "duplicate_records": {
        "test_duplicate_records": [{"id": "1", "metric": 100}, {"id": "2", "metric": 20}]
    },
    "no_primary_keys": {
        "test_no_pk": [
            {"id": "1", "metric": 11},
            {"id": "2", "metric": 22},
            {"id": "3", "metric": 33},
        ]
    },
    "optional_attributes": {
        "test_optional_attributes": [
            {"id": "1", "optional": "This is optional"},
            {"id": "2", "optional": None},
            {"id": "3", "optional": "Also optional"},
            {"id": "4", "optional": None},
        ]
    },
    "pk_updates": {
        "example_stream": [
            {"id": "1", "name": "Alice", "email": "alice@example.com"},
            {"id": "2", "name": "Bob", "email": "bob@example.com"},
        ]
    },
    "record_missing_fields": {
        "record_missing_fields": [
            {"id": "1", "optional": "now you see me"},
            {"id": "2", "optional": None},
        ]
    },
    "schema_no_properties": {
        "test_object_schema_with_properties": [
            {"object_store": '{"id":1,"metric":187}'},
            {"object_store": '{"id":2,"metric":203}'},
        ],
        "test_object_schema_no_properties": [
            {"object_store": '{"id":1,"metric":1}'},
            {"object_store": '{"id":2,"metric":2}'},
        ],
    },
    "special_chars_in_attributes": {
        "special_chars": [
            {
                "_id": "a2e98886",
                "d": '{"env":"prod","agent:type":"desktop","agent:os:version":"10.13.1"}',
            }
        ]
    },
    "record_before_schema": {"test_record_before_schema": []},
    "record_missing_key_property": {"test_record_missing_key_property": []},
}


def _check(name: str, monetate: Monetate) -> None:
    for dataset, rows in _EXPECTED.get(name, {}).items():
        assert monetate.rows(dataset) == rows
    if name == "encoded_string_data":
        _check_encoded_strings(monetate)
    if name == "schema_updates":
        _check_schema_updates(monetate)


def _check_encoded_strings(monetate: Monetate) -> None:
    texts = {row["id"]: row["info"] for row in monetate.rows("test_strings")}
    assert len(texts) == 11
    assert texts["3"] == "简单的字串"
    assert texts["6"] == 'various " \\ / \n escape sequences'
    assert texts["11"] == "Control Characters in string: \0 A \1"
    objects = monetate.rows("test_strings_in_objects")
    assert objects[4]["info"] == '{"name":"quoted string","value":"quoted \\"string\\""}'
    lists = {row["id"]: row["strings"] for row in monetate.rows("test_strings_in_arrays")}
    assert lists["2"] == 'chaîne simple,"quoted ""string"""'


def _check_schema_updates(monetate: Monetate) -> None:
    rows = monetate.rows("test_schema_updates")
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[0] == {"id": "1", "a1": 101, "a2": "string1", **dict.fromkeys(["a3", "a4"])} | {
        "a5": None,
        "a6": None,
    }
    assert rows[3]["a4"] == '{"id":2,"value":22}'
    assert rows[3]["a5"] == "orange,pear"


class TestSuite(target_suite(TargetMonetate, _check)):  # type: ignore[misc]
    @pytest.fixture
    def resource(self, monetate: Monetate) -> Monetate:
        for stream in _STREAMS:
            key = {"data_type": "STRING", "identifier": True, "unique_key": True}
            monetate.add_dataset(stream, {_KEYS.get(stream, "id"): key})
        return monetate

    @pytest.fixture
    def runner(self, load: Loader) -> TargetTestRunner:
        return TargetTestRunner(
            target_class=TargetMonetate,
            config=load.settings(
                add_missing_fields=True,
                streams=[{"stream": "test:SpecialChars!in?attributes", "schema": "special_chars"}],
            ),
            suite_config=SuiteConfig(),
        )
