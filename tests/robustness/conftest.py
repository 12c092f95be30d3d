"""Each test of invalid input runs in its own folder, which contains all files it writes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from tests.robustness.plugins import PLUGINS, TAPS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.robustness.plugins import Plugin


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test's plugins."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def connections_may_stay_open() -> Iterator[None]:
    """Ignore idle connections, which a command leaves open until its process ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.fixture(scope="module", autouse=True)
def left_connections_are_closed(garbage_is_collected: None) -> None:
    """Release the idle connections at the end of a module."""


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
