"""Run third-party clients and this project's plugins as separate processes."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kit.processes import inherited, output_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DRIVERS = Path(__file__).with_name("drivers")


def run_client(
    driver: str,
    *arguments: str,
    given: Any = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a driver in the environment of the clients, and return its output.

    Args:
        driver: The name of a module in `drivers`.
        arguments: Its arguments.
        given: Its input, written as JSON.
        environment: Variables in addition to those of this process.
    """
    command = [os.environ["CLIENTS"], str(DRIVERS / f"{driver}.py"), *arguments]
    return _run(command, json.dumps(given).encode(), environment or {})


def run_plugin(
    name: str,
    config: Mapping[str, Any],
    folder: Path,
    messages: list[dict[str, Any]] | None = None,
) -> list[bytes]:
    """Run a plugin of this project, which must succeed, and return its output lines."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    command = [str(Path(sys.executable).with_name(name)), "--config", str(path)]
    given = "".join(f"{json.dumps(message)}\n" for message in messages or [])
    return _run(command, given.encode(), {}).splitlines()


def exact(text: str | bytes) -> Any:
    """Parse JSON; numbers with a point are compared by their digits: 1.10 differs from 1.1."""
    return json.loads(text, parse_float=lambda number: Decimal(number).as_tuple())


def _run(command: list[str], given: bytes, environment: Mapping[str, str]) -> bytes:
    # PYTHONPATH would put this project's modules before those of the other environment.
    variables = {**inherited("PYTHONPATH"), **environment}
    return output_of(*command, environment=variables, stdin=given.decode()).encode()
