"""The SDK's tests of a tap, with replacements for the two that cannot fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import SuiteConfig, TapTestRunner, get_tap_test_class

from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from singer_martech.singer.stream import ChunkedStream
    from tests.sandbox.server import Sandbox

COLUMNS = {
    "id": {"type": ["string", "null"]},
    "ts": {"type": ["string", "null"], "format": "date-time"},
    "n": {"type": ["integer", "null"]},
    "x": {"type": ["number", "null"]},
    "b": {"type": ["boolean", "null"]},
    "o": {"type": ["object", "null"]},
}
# the streams are created when this module is imported; the sandbox's address is set later
CONFIG: dict[str, Any] = {
    "api_url": "http://127.0.0.1:9",
    "api_token": "api:none",
    "organisation_id": "1426",
    "poll_interval_seconds": 0.01,
    "exports": [{"stream": "things", "query_id": "1", "schema": {"properties": COLUMNS}}],
}
SuiteOfTheSdk: Any = get_tap_test_class(
    TapMediarithmics, config=CONFIG, parse_env_config=False, suite_config=SuiteConfig()
)


@pytest.mark.filterwarnings("ignore:Fields in transformed catalog but not in records")
class TestSdkSuite(SuiteOfTheSdk):  # type: ignore[misc] # made at run time
    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, sandbox_server: Sandbox, lines: Any) -> TapTestRunner:
        sandbox_server.reset()
        vendor = sandbox_server.mediarithmics
        query = vendor.add_query("SELECT { id } FROM UserPoint")
        export = vendor.add_export("Things", query)
        first = {"id": "a", "ts": 1, "n": 1, "x": 0.5, "b": True, "o": {"k": 1}}
        vendor.set_result(export, [lines(first, dict.fromkeys(COLUMNS), {"id": "b", "new": 1})])
        items = [{**CONFIG["exports"][0], "query_id": query}]
        config = {**CONFIG, **vendor.credentials(), "exports": items}
        runner = TapTestRunner(TapMediarithmics, config=config, parse_env_config=False)
        runner.sync_all()
        return runner

    def test_tap_stream_primary_keys(self, runner: TapTestRunner, stream: ChunkedStream) -> None:
        records = runner.records[stream.name]
        keys = [tuple(each[key] for key in stream.primary_keys) for each in records]
        assert len(keys) == len(set(keys)) > 0
        assert all(value is not None for key in keys for value in key)

    def test_tap_valid_final_state(self, runner: TapTestRunner) -> None:
        bookmarks = runner.state_messages[-1]["value"]["bookmarks"]
        newest = runner.records["things"][-1]["_execution_creation_date"]
        assert bookmarks["things"]["replication_key_value"] == newest
        assert all("progress_markers" not in bookmark for bookmark in bookmarks.values())


del SuiteOfTheSdk
