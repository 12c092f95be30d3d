"""``--check``: what it verifies at the vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from singer_martech.singer.command import CheckReport
from target_mediarithmics.target import TargetMediarithmics
from tests.target_mediarithmics.conftest import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.target_mediarithmics.conftest import Run

PROFILES = {"document_type": "USER_PROFILE"}


@pytest.fixture
def check(
    settings: dict[str, Any], log: list[str], capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Run the checks with further settings and return the printed lines."""
    assert log == []

    def run(**more: Any) -> list[str]:
        report = CheckReport()
        report.run(TargetMediarithmics.for_check({**settings, **more}).checks())
        return capsys.readouterr().out.splitlines()

    return run


def test_imports_that_exist_and_imports_to_be_created_pass(
    vendor: Mediarithmics, check: Callable[..., list[str]], log: list[str]
) -> None:
    by_id = vendor.add_import("by hand", "USER_ACTIVITY")
    streams = {
        "events": {"document_type": "USER_ACTIVITY", "document_import_id": by_id},
        "people": PROFILES,
        "crm_*": {"document_type": "SOMETHING_NEW"},
    }
    assert check(streams=streams) == [
        "✓ login and datamart",
        "✓ stream 'events': document type USER_ACTIVITY",
        "✓ stream 'events': document import",
        "✓ stream 'people': document type USER_PROFILE",
        "✓ stream 'people': document import",
        "✓ stream 'crm_*': document type SOMETHING_NEW",
    ]
    assert any("'singer-martech people' does not exist; the first load" in line for line in log)
    assert [each["id"] for each in vendor.imports()] == [by_id]
    assert {request.method for request in vendor.requests} == {"GET"}


def test_a_wrong_token_is_named_and_ends_the_checks(check: Callable[..., list[str]]) -> None:
    (line,) = check(api_token="api:wrong", streams={"people": PROFILES})
    assert line.startswith("✗ login and datamart: ")
    assert "check setting 'api_token'" in line


def test_a_wrong_datamart_is_named(check: Callable[..., list[str]]) -> None:
    (line,) = check(datamart_id="999", streams={"people": PROFILES})
    assert "✗ login and datamart: setting 'datamart_id': datamart 999" in line
    assert line.endswith("; check 'api_url', too")


def test_an_address_of_another_server_is_named(
    vendor: Mediarithmics, check: Callable[..., list[str]]
) -> None:
    (line,) = check(api_url=vendor.api_url.removesuffix("/v1"), streams={"people": PROFILES})
    assert line.startswith("✗ login and datamart: list of document imports: ")
    assert line.endswith("; check setting 'api_url'")


def test_an_import_that_is_missing_or_accepts_other_documents_is_named(
    vendor: Mediarithmics, check: Callable[..., list[str]]
) -> None:
    vendor.add_import("there", "USER_ACTIVITY")
    streams = {
        "a": {**PROFILES, "document_import_id": "1"},
        "b": {**PROFILES, "document_import_name": "there"},
    }
    lines = [line for line in check(streams=streams) if line.startswith("✗")]
    assert len(lines) == 2
    assert "stream 'a', key 'document_import_id': datamart" in lines[0]
    assert "has no document import 1" in lines[0]
    assert "stream 'b', key 'document_import_name'" in lines[1]
    assert "accepts USER_ACTIVITY" in lines[1]


def test_a_misspelt_document_type_is_named(check: Callable[..., list[str]]) -> None:
    lines = check(streams={"people": {"document_type": "USER_PROFIL"}})
    assert "✗ stream 'people': document type USER_PROFIL" in lines[1]
    assert "did you mean 'USER_PROFILE'?" in lines[1]


def test_a_run_warns_once_before_it_creates_an_import_of_a_misspelt_type(
    load: Callable[..., Run],
) -> None:
    run = load(schema(), schema(), streams={"list": {"document_type": "USER_PROFIL"}})
    assert len([line for line in run.log if "did you mean 'USER_PROFILE'?" in line]) == 1


@pytest.mark.parametrize("mapping", [PROFILES, {**PROFILES, "document_import_id": "1"}])
def test_a_wrong_datamart_ends_a_run_with_the_setting(
    load: Callable[..., Run], mapping: dict[str, Any]
) -> None:
    run = load(schema(), streams={"list": mapping}, datamart_id="999")
    assert isinstance(run.error, MartechError)
    assert "setting 'datamart_id': datamart 999 does not exist" in str(run.error)
