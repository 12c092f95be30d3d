"""A Meltano project for the pipelines' tests."""

from __future__ import annotations

import pytest

from tests.pipelines.meltano import MeltanoProject


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> MeltanoProject:
    """A project folder, with plugins installed by Meltano as they are needed."""
    return MeltanoProject(tmp_path_factory.mktemp("meltano") / "project")
