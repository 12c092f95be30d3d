"""Read the JSON files given on the command line."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import IO, Any

from singer_martech.errors import MartechError, SettingError
from singer_martech.values.json_codec import reject_constant

_config_files: set[Path] = set()
"""Paths of the configuration files, which must not be read as data."""


def read_config_file(path: str) -> dict[str, Any]:
    """Return the settings of a configuration file.

    Raises:
        SettingError: The file cannot be read or is not a JSON object.
    """
    label = f"the configuration file {path}"
    _config_files.add(Path(os.path.realpath(path)))
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the path as the user wrote it
            return parse_object(read_text(file, label), label)
    except OSError as error:
        raise SettingError(f"{label} cannot be read: {error.strerror}") from None
    except MartechError as error:
        raise SettingError(str(error)) from None


def is_config_file(status: os.stat_result) -> bool:
    """Whether a file is a configuration file of this run, under any name."""
    for path in _config_files:
        with contextlib.suppress(OSError):
            if os.path.samestat(status, path.stat()):
                return True
    return False


def read_text(file: IO[str], label: str) -> str:
    """Return the content of a text file, without a byte order mark.

    Raises:
        MartechError: The file is not UTF-8.
    """
    try:
        return file.read().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise MartechError(f"{label} is not UTF-8 (byte {error.start})") from None


def parse_object(text: str, label: str) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        MartechError: The text is not a JSON object.
    """
    try:
        value = json.loads(text, parse_constant=reject_constant)
    except json.JSONDecodeError as error:
        raise MartechError(f"{label} is not valid JSON ({json_position(error)})") from None
    except RecursionError:
        raise MartechError(f"{label} is not valid JSON: it is nested too deep") from None
    except ValueError as error:
        raise MartechError(f"{label} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise MartechError(f"{label} must hold a JSON object")
    return value


def json_position(error: json.JSONDecodeError) -> str:
    """Return the position and the reason of a JSON error."""
    return f"line {error.lineno}, column {error.colno}: {error.msg}"
