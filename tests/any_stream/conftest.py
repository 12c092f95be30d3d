"""A loader for each target; every test runs in its own folder, which contains the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.any_stream.loader import ANY_TARGETS, Loader
from tests.robustness.conftest import connections_may_stay_open, folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.any_stream.loader import AnyTarget
    from tests.sandbox.server import Sandbox

__all__ = ["connections_may_stay_open", "folder"]


@pytest.fixture(params=ANY_TARGETS, ids=str)
def load(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> Loader:
    """Each of the targets."""
    target: AnyTarget = request.param
    return Loader(target, sandbox, tmp_path)
