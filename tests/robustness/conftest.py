"""Each test of hostile input runs in a folder of its own, where reports and files would land."""

from __future__ import annotations

import gc
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
    """Where the test's plugins run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def connections_may_stay_open() -> Iterator[None]:
    """A command leaves it to the end of its process to close its idle connections."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.fixture(scope="module", autouse=True)
def left_connections_are_closed() -> Iterator[None]:
    """What the runs of a module left in this process is gone before other tests begin."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


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
