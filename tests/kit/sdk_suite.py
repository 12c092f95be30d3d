"""The target tests of singer-sdk that apply here."""

from __future__ import annotations

from singer_sdk.testing.suites import target_tests

TARGET_TESTS = [
    # its SCHEMA has no columns, as the first one of tap-mongodb: every object is valid
    test
    for test in target_tests.tests
    if test.name != "invalid_schema"
]
