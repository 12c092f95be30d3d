"""No function loops forever in an error handler when there is no memory.

Up to Python 3.13, the end of a `with` or an `except … as` keeps the number of the instruction that
failed. Beyond 256, that takes memory; if there is none, Python handles this error in the same way,
and again without end (CPython issue 132508).
"""

from __future__ import annotations

import dis
from types import CodeType
from typing import TYPE_CHECKING

import pytest

from tests.project.test_patterns import PACKAGES
from tools.settings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_UNITS = 256


def functions(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from functions(constant)


def last_handled(code: CodeType) -> int:
    """Return the number of the last instruction whose failure has such a handler."""
    parse = getattr(dis, "_parse_exception_table", lambda _: ())  # none in Python 3.10
    return max((entry.end // 2 for entry in parse(code) if entry.lasti), default=0)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_is_too_long_for_its_error_handlers(package: str) -> None:
    too_long = [
        f"{path.relative_to(ROOT)}:{function.co_firstlineno}: {function.co_name} has "
        f"{last_handled(function)} units; move a part into a function"
        for path in sorted((ROOT / package).rglob("*.py"))
        for function in functions(compile(path.read_bytes(), str(path), "exec"))
        if last_handled(function) > MOST_UNITS
    ]
    assert too_long == []
