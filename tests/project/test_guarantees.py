"""The page of guarantees names existing tests."""

from __future__ import annotations

import ast
import re

import pytest

from tools.settings import ROOT

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_named_on_the_page_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name in functions


def test_every_guarantee_has_a_test() -> None:
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and "Verified by" not in line
    ]
    assert rows
    assert all("::test_" in row for row in rows)
