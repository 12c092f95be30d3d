"""The built-in target tests of singer-sdk that apply here."""

from __future__ import annotations

from singer_sdk.testing.suites import target_tests

TARGET_TESTS = [
    # its SCHEMA names no columns, as tap-mongodb's first one does: every object is taken
    test
    for test in target_tests.tests
    if test.name != "invalid_schema"
]
