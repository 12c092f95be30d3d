"""The SDK's tests of a target, each followed by a check of the delivered messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing.runners import TargetTestRunner

from target_mona.target import TargetMona
from tests.kit.sdk_suite import TARGET_TESTS, target_suite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mona import Mona

Check = "Callable[[Mona], None]"


def contexts(stream: str, *expected: str) -> Callable[[Mona], None]:
    """Expect the records of these ids."""

    def check(mona: Mona) -> None:
        assert {key for key in mona.records() if key[0] == stream} == {
            (stream, each) for each in expected
        }

    return check


def count(expected: int) -> Callable[[Mona], None]:
    """Expect this number of messages without context id."""

    def check(mona: Mona) -> None:
        assert len(mona.messages()) == expected
        assert not any(each["given"] for each in mona.messages())

    return check


def fields(stream: str, context: str, **expected: Any) -> Callable[[Mona], None]:
    """Expect these fields of a record, and no others."""

    def check(mona: Mona) -> None:
        assert mona.records()[stream, context] == expected

    return check


def text(mona: Mona) -> None:
    texts = {
        key[1]: each["info"] for key, each in mona.records().items() if key[0] == "test_strings"
    }
    assert texts["2"] == "απλή συμβολοσειρά"
    assert texts["6"] == 'various " \\ / \n escape sequences'
    assert texts["11"] == "Control Characters in string: \x00 A \x01"
    assert len(mona.records()) == 28


def nothing(mona: Mona) -> None:
    assert mona.messages() == []


EXPECTED: dict[str, Callable[[Mona], None]] = {
    "array_data": fields("test_array_data", "2", id=2, fruits=["banana", "apple"]),
    "camelcase": fields("TestCamelcase", "1", Id="1", clientName="Gitter Windows Desktop App"),
    "camelcase_complex_schema": nothing,
    "cli_prints": nothing,
    "duplicate_records": fields("test_duplicate_records", "1", id=1, metric=100),
    "encoded_string_data": text,
    "no_primary_keys": count(3),
    "optional_attributes": contexts("test_optional_attributes", "1", "2", "3", "4"),
    "pk_updates": count(2),  # its key properties are inside the schema, which has no effect
    "record_before_schema": nothing,
    "record_missing_fields": fields("record_missing_fields", "2", id=2),
    "record_missing_key_property": nothing,
    "schema_no_properties": count(4),
    "schema_updates": fields(
        "test_schema_updates",
        "5",
        id=5,
        a1=105,
        a2="string5",
        a3=False,
        a4={"id": 3, "value": 33},
        a5=["apple"],
        a6=985,
    ),
    "special_chars_in_attributes": fields(
        "test_SpecialChars_in_attributes",
        "a2e98886",
        _id="a2e98886",
        d={"env": "prod", "agent:type": "desktop", "agent:os:version": "10.13.1"},
    ),
}


def _check(name: str, mona: Mona) -> None:
    EXPECTED[name](mona)


class TestSuite(target_suite(TargetMona, _check)):  # type: ignore[misc]
    @pytest.fixture
    def resource(self, mona: Mona) -> Mona:
        return mona

    @pytest.fixture
    def runner(self, config_of_a_run: dict[str, Any]) -> TargetTestRunner:
        return TargetTestRunner(TargetMona, config=config_of_a_run)


@pytest.fixture
def config_of_a_run(mona: Mona, tmp_path: Any) -> dict[str, Any]:
    return {**mona.credentials(), "reject_path": str(tmp_path / "rejects")}


def test_the_suite_is_whole() -> None:
    names = {test.name for test in TARGET_TESTS}
    assert names == set(EXPECTED)
    assert len([each for each in dir(TestSuite) if each.startswith("test_")]) == len(names)
