"""Run commands as separate processes."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def inherited(*prefixes: str) -> dict[str, str]:
    """Return this process's environment without the variables that begin with a prefix."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def output_of(
    *command: str | Path,
    folder: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    with_errors: bool = False,
) -> str:
    """Run a command, which must succeed, and return its output.

    Args:
        command: The command line.
        folder: The working folder.
        environment: All variables; None for those of this process.
        stdin: The input.
        with_errors: Whether the result contains standard error, too.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=stdin,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else subprocess.PIPE,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def free_port() -> int:
    """Return an unused local port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
