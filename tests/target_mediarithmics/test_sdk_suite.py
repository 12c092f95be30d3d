"""The SDK's tests of targets, each followed by a check of what mediarithmics received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import SuiteConfig
from singer_sdk.testing.runners import TargetTestRunner

from target_mediarithmics.target import TargetMediarithmics
from tests.kit.sdk_suite import target_suite

if TYPE_CHECKING:
    from tests.sandbox.mediarithmics import Mediarithmics

#: The number of documents per input: all that the SDK sends, since nothing is merged.
_DOCUMENTS = {
    "array_data": 4,
    "camelcase": 2,
    "camelcase_complex_schema": 0,
    "cli_prints": 0,
    "duplicate_records": 5,
    "encoded_string_data": 28,
    "no_primary_keys": 3,
    "optional_attributes": 4,
    "pk_updates": 2,
    "record_before_schema": 0,
    "record_missing_fields": 2,
    "record_missing_key_property": 0,
    "schema_no_properties": 4,
    "schema_updates": 6,
    "special_chars_in_attributes": 1,
}


def _check(name: str, vendor: Mediarithmics) -> None:
    documents = vendor.documents()
    assert len(documents) == _DOCUMENTS[name]
    if name == "array_data":
        assert documents[1] == {"id": 2, "fruits": ["banana", "apple"]}
    if name == "encoded_string_data":
        assert documents[2]["info"] == "简单的字串"
    if name == "schema_updates":
        assert [each["id"] for each in documents] == [1, 2, 3, 4, 5, 6]


class TestSuite(target_suite(TargetMediarithmics, _check)):  # type: ignore[misc]
    @pytest.fixture
    def resource(self, vendor: Mediarithmics) -> Mediarithmics:
        return vendor

    @pytest.fixture
    def runner(self, settings: dict[str, Any]) -> TargetTestRunner:
        streams = {"*": {"document_type": "ANYTHING"}}
        return TargetTestRunner(
            target_class=TargetMediarithmics,
            config={**settings, "streams": streams},
            suite_config=SuiteConfig(),
        )
