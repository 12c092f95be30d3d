"""The option ``--check``, keys without a column, and errors that name their setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from tests.sandbox.mediarithmics import Mediarithmics

QUERY = "SELECT { id creation_ts } FROM UserPoint"


@pytest.fixture
def item(vendor: Mediarithmics) -> dict[str, Any]:
    """A stream of an export with a result."""
    export = vendor.add_export("Things", QUERY)
    vendor.add_execution(export)
    return {"stream": "things", "export_id": export}


def check(config: dict[str, Any]) -> dict[str, str]:
    """Run the checks; return the label of each with its error, empty if it succeeds."""
    found = {}
    for each in TapMediarithmics.for_check(config).checks():
        found[each.label] = ""
        try:
            each.run()
        except MartechError as error:
            found[each.label] = str(error)
            if each.is_prerequisite:
                break
    return found


def test_valid_settings_pass_and_nothing_is_written(
    vendor: Mediarithmics, config: dict[str, Any], item: dict[str, Any]
) -> None:
    query = {
        "stream": "users",
        "query": f"{QUERY} WHERE creation_ts >= {{start}}",
        "replication_key": "creation_ts",
    }
    stored = {"stream": "stored", "query_id": vendor.add_query(QUERY)}
    settings = {**config, "start_date": "2020-01-01", "exports": [item, query, stored]}
    assert check(settings) == {
        "token and organisation": "",
        f"datamart {vendor.datamart_id}": "",
        "stream 'things'": "",
        "stream 'users'": "",
        "stream 'stored'": "",
    }
    writes = [each for each in vendor.requests if each.method != "GET"]
    assert {each.path.rsplit("/", 1)[1] for each in writes} == {"otql"}


def test_a_path_that_is_not_found_names_the_address(config: dict[str, Any]) -> None:
    found = check({**config, "api_url": f"{config['api_url']}/nope"})
    assert "check settings 'api_url' and 'organisation_id'" in found["token and organisation"]


def test_a_wrong_token_ends_the_checks(config: dict[str, Any], item: dict[str, Any]) -> None:
    found = check({**config, "api_token": "api:wrong", "exports": [item]})
    assert list(found) == ["token and organisation"]
    assert "check setting 'api_token'" in found["token and organisation"]


@pytest.mark.parametrize(
    ("change", "label", "expected"),
    [
        (
            {"organisation_id": "7"},
            "token and organisation",
            "(status 403); check settings 'api_token' and 'organisation_id'",
        ),
        (
            {"datamart_id": "7"},
            "datamart 7",
            "(status 403); check settings 'api_token' and 'datamart_id'",
        ),
        (
            {"exports": [{"stream": "things", "export_id": "77"}]},
            "stream 'things'",
            "check setting 'export_id' of stream 'things'",
        ),
        (
            {"exports": [{"stream": "things", "query_id": "77"}]},
            "stream 'things'",
            "check setting 'query_id' of stream 'things'",
        ),
        (
            {"exports": [{"stream": "things", "query": "SELECT { nope } FROM UserPoint"}]},
            "stream 'things'",
            "the query check says VALIDATION_ERROR at line 1",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    config: dict[str, Any], change: dict[str, Any], label: str, expected: str
) -> None:
    assert expected in check({**config, **change})[label]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"primary_keys": ["idd"]}, "'primary_keys': the export has no column 'idd'; did you mean"),
        (
            {"replication_key": "creation"},
            "'replication_key': the export has no column 'creation'; did you mean 'creation_ts'?",
        ),
        ({"primary_keys": ["zzz"]}, "'primary_keys': the export has no column 'zzz'"),
    ],
)
class TestAKeyWithoutAColumn:
    def test_fails_the_check(
        self, config: dict[str, Any], item: dict[str, Any], keys: dict[str, Any], line: str
    ) -> None:
        assert line in check({**config, "exports": [{**item, **keys}]})["stream 'things'"]

    @pytest.mark.parametrize("with_catalog", [False, True])
    def test_is_warned_about_once(  # noqa: PLR0917 - fixtures and cases
        self,
        config: dict[str, Any],
        item: dict[str, Any],
        sync: Any,
        caplog: pytest.LogCaptureFixture,
        keys: dict[str, Any],
        line: str,
        with_catalog: bool,
    ) -> None:
        settings = {**config, "exports": [{**item, **keys}]}
        catalog = None
        if with_catalog:
            catalog = TapMediarithmics(config=settings, setup_mapper=False).catalog_dict
            caplog.clear()
        output = sync(settings, catalog=catalog)
        assert output.counts["things"] > 1
        assert caplog.text.count(line) == 1


def test_a_run_names_the_setting_that_the_vendor_rejects(
    config: dict[str, Any], command: Any
) -> None:
    ended = command({**config, "exports": [{"stream": "things", "export_id": "77"}]})
    assert ended.status == 1
    assert "check setting 'export_id' of stream 'things'" in ended.last_line
