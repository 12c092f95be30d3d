"""What every test may use: the sandbox of the four vendors' APIs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from singer_martech.runtime import redaction
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

# The SDK's notice at every start on Python 3.10 is none of what the processes are looked at for.
os.environ.setdefault("PYTHONWARNINGS", "ignore:Python 3.10 reached its end of life")

# How long an example takes says more about the machine than about the code, and whether a
# change is right is not up to chance: new examples are for `pytest --hypothesis-profile random`.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _secrets_of_this_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process knows the secrets of one run; those of all tests would slow every log line."""
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(redaction, "_pattern", None)


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Sandbox]:
    """One server for the whole run; use `sandbox` instead."""
    with Sandbox(seed=1) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Iterator[Sandbox]:
    """The sandbox as new; the test fails when a handler of the sandbox itself failed."""
    sandbox_server.reset()
    yield sandbox_server
    sandbox_server.faults.clear()
    assert not sandbox_server.errors, "\n".join(sandbox_server.errors)
