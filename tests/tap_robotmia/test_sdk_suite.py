"""The SDK's tests, with replacements for the two that cannot fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from singer_sdk.testing import SuiteConfig, TapTestRunner
from singer_sdk.testing.suites import tap_stream_attribute_tests, tap_stream_tests, tap_tests

from tap_robotmia.tap import TapRobotmia
from tests.sandbox.robotmia_events import EXTRA_KEYS
from tests.tap_robotmia.conftest import day

if TYPE_CHECKING:
    from tests.sandbox.robotmia import Robotmia

STREAMS = ("event_page_viewed", "events")


@pytest.fixture
def runner(vendor: Robotmia) -> TapTestRunner:
    vendor.extra_keys = EXTRA_KEYS  # so that no column is empty
    start = day(-2, vendor.today.isoformat())
    config = {**vendor.credentials(), "start_date": start, "event_streams": ["Page Viewed"]}
    found = TapTestRunner(TapRobotmia, config, SuiteConfig(max_records_limit=None))
    found.sync_all()
    return found


@pytest.mark.parametrize("test", tap_tests.tests, ids=lambda test: test.name)
def test_the_sdks_tests_of_the_tap(runner: TapTestRunner, test: type) -> None:
    test().run(resource=runner.new_tap(), runner=runner, config=runner.suite_config)


@pytest.mark.filterwarnings("ignore:Fields in transformed catalog but not in records")
@pytest.mark.parametrize("stream", STREAMS)
def test_the_sdks_tests_of_each_stream(runner: TapTestRunner, stream: str) -> None:
    tap = runner.new_tap()
    for test in tap_stream_tests.tests:
        test().run(
            resource=tap, runner=runner, config=runner.suite_config, stream=tap.streams[stream]
        )


@pytest.mark.parametrize("stream", STREAMS)
def test_the_sdks_tests_of_each_attribute(runner: TapTestRunner, stream: str) -> None:
    tap = runner.new_tap()
    found = tap.streams[stream]
    done = 0
    for name, schema in found.schema["properties"].items():
        for test in tap_stream_attribute_tests.tests:
            if test.evaluate(stream=found, property_name=name, property_schema=schema):
                test().run(
                    resource=tap,
                    runner=runner,
                    config=runner.suite_config,
                    stream=found,
                    attribute_name=name,
                )
                done += 1
    assert done


def test_no_two_events_share_a_key_and_every_record_has_one(runner: TapTestRunner) -> None:
    for stream in STREAMS:
        ids = [record["event_id"] for record in runner.records[stream]]
        # all events of the sandbox have an $insert_id, and some come twice
        keys = {
            (record.get("event"), record["distinct_id"], record["time"], record["insert_id"])
            for record in runner.records[stream]
        }
        assert len(ids) > 100
        assert all(isinstance(each, str) and each for each in ids)
        assert len(set(ids)) == len(keys) <= len(ids)


def test_the_final_state_is_a_bookmark_and_nothing_else(runner: TapTestRunner) -> None:
    entries = runner.state_messages[-1]["value"]["bookmarks"]
    assert set(entries) == set(STREAMS)
    for entry in entries.values():
        assert set(entry) == {"replication_key", "replication_key_value", "start_date"}
