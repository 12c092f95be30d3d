"""Fixtures for all tests: the sandbox of the four vendors' APIs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from singer_martech.runtime import redaction
from tests.kit.garbage import collect_garbage
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

# The SDK warns at every start on Python 3.10; the tests of process output must not see that.
os.environ.setdefault("PYTHONWARNINGS", "ignore:Python 3.10 reached its end of life")

# Run times depend on the machine, and tests must be deterministic: use
# `pytest --hypothesis-profile random` for new examples.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _secrets_of_this_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process registers the secrets of one run; those of all tests would slow down logging."""
    monkeypatch.setattr(redaction, "_known", ())


@pytest.fixture(scope="module")
def garbage_is_collected() -> Iterator[None]:
    """Finalize what the tests of a module leave at its end."""
    yield
    collect_garbage()


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Sandbox]:
    """One server for all tests; use `sandbox` instead."""
    with Sandbox(seed=1) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Iterator[Sandbox]:
    """The sandbox in its initial state; the test fails if a handler of the sandbox fails."""
    sandbox_server.reset()
    yield sandbox_server
    sandbox_server.faults.clear()
    assert not sandbox_server.errors, "\n".join(sandbox_server.errors)
