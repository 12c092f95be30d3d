"""A Meltano project created by `meltano init`, like that of a new user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kit.processes import inherited, output_of
from tests.pipelines.meltano import MELTANO, sandbox_settings
from tools.hub import write_local_definitions

if TYPE_CHECKING:
    from tests.sandbox.server import Sandbox


class FreshProject:
    """A project outside of this one, with the plugins that `make hub-local` defines.

    Args:
        parent: An empty folder, for the project and for the definitions.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "project"
        # the commands of this project are not on the PATH of a user of Meltano
        self._path = parent / "path"
        self._path.mkdir()
        (self._path / "meltano").symlink_to(MELTANO)
        _run(parent, MELTANO, "init", "project", "--no-usage-stats")
        for path in write_local_definitions(parent / "dist"):
            _run(self.folder, MELTANO, "add", path.stem, "--from-ref", path)

    def meltano(self, *arguments: str, sandbox: Sandbox, **variables: str) -> str:
        """Run Meltano against a sandbox, and return its output."""
        return _run(self.folder, MELTANO, *arguments, **{**sandbox_settings(sandbox), **variables})

    def shell(self, commands: str, sandbox: Sandbox, **variables: str) -> str:
        """Run shell commands against a sandbox, and return their output."""
        others = [
            each
            for each in os.environ["PATH"].split(os.pathsep)
            if each and not (Path(each) / "tap-robotmia").exists()
        ]
        path = os.pathsep.join([str(self._path), *others])
        settings = {"PATH": path, **sandbox_settings(sandbox), **variables}
        return _run(self.folder, "bash", "-euo", "pipefail", "-c", commands, **settings)


def _run(folder: Path, *command: str | Path, **variables: str) -> str:
    outside = inherited("MELTANO_", "TAP_", "TARGET_", "PYTHON", "VIRTUAL_ENV")
    return output_of(
        *command, folder=folder, environment={**outside, **variables}, with_errors=True
    )
