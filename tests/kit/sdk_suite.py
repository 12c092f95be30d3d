"""The target tests of singer-sdk that apply here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.testing import get_target_test_class
from singer_sdk.testing.suites import SingerTestSuite, target_tests

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_sdk import Target
    from singer_sdk.testing.templates import TargetTestTemplate

TARGET_TESTS = [
    # its SCHEMA has no columns, as the first one of tap-mongodb: every object is valid
    test
    for test in target_tests.tests
    if test.name != "invalid_schema"
]


def target_suite(target: type[Target], check: Callable[[str, Any], None]) -> Any:
    """Return a test class with the SDK's tests of a target.

    Args:
        target: The target.
        check: Called after each test with its name and the fixture ``resource``.
    """

    def checked(test: type[TargetTestTemplate]) -> type[TargetTestTemplate]:
        def validate(self: TargetTestTemplate) -> None:
            check(str(self.name), self.resource)

        return type(test.__name__, (test,), {"validate": validate})

    suite = SingerTestSuite(kind="target", tests=list(map(checked, TARGET_TESTS)))
    return get_target_test_class(target, include_target_tests=False, custom_suites=[suite])
