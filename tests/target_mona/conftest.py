"""Running the target as a command against the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_mona.singer import Run, as_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.sandbox.mona import Mona
    from tests.sandbox.server import Sandbox
    from tests.target_mona.singer import Line

COMMAND = Path(sys.executable).with_name("target-mona")


@pytest.fixture
def mona(sandbox: Sandbox) -> Mona:
    return sandbox.mona


@pytest.fixture
def config(mona: Mona, tmp_path: Path) -> dict[str, Any]:
    """The settings of a run, which a test may change."""
    return {**mona.credentials(), "reject_path": str(tmp_path / "rejects")}


class Target:
    """The command, with settings and an environment.

    Args:
        config: The settings.
        folder: Where it runs.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.reject_path = Path(config["reject_path"])
        self._processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, *lines: Line, **settings: Any) -> Run:
        """Run over these messages."""
        process = self.start(**settings)
        output, log = process.communicate(as_bytes(lines), timeout=60)
        return Run(process.returncode, output.decode(), log.decode(), self.reject_path)

    def start(self, **settings: Any) -> subprocess.Popen[bytes]:
        """Begin a run, whose input is a pipe."""
        path = self.folder / f"config-{len(self._processes)}.json"
        path.write_text(json.dumps({**self.config, **settings}))
        process = subprocess.Popen(
            [COMMAND, "--config", path],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def command(
        self, *arguments: str, lines: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run with any arguments and environment."""
        result = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            input=lines,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        run = Run.__new__(Run)
        run.status, run.reject_path = result.returncode, self.reject_path
        run.output, run.log = result.stdout.decode(), result.stderr.decode()
        return run

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def target(config: dict[str, Any], tmp_path: Path) -> Iterator[Target]:
    target = Target(config, tmp_path)
    yield target
    target.close()


@pytest.fixture
def messages(mona: Mona) -> Callable[[], list[dict[str, Any]]]:
    """What Mona accepted: the messages alone, in their order."""
    return lambda: [each["message"] for each in mona.messages()]
