"""Each test of hostile input runs in a folder of its own, where reports and files would land."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.plugins import PLUGINS, TAPS, TARGETS, Plugin

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's plugins run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=PLUGINS, ids=str)
def plugin(request: pytest.FixtureRequest) -> Plugin:
    """Each of the five."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=TAPS, ids=str)
def tap(request: pytest.FixtureRequest) -> Plugin:
    """Each of the taps."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Plugin:
    """Each of the targets."""
    return request.param  # type: ignore[no-any-return]
