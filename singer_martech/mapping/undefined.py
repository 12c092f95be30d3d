"""What templates and Jinja expressions share: the undefined value and the error."""

from __future__ import annotations

from enum import Enum
from typing import Any


class TemplateError(ValueError):
    """A template cannot be compiled, or fails for a record; the text says where."""


class _Undefined(Enum):
    UNDEFINED = "undefined"


UNDEFINED = _Undefined.UNDEFINED
"""Stands for a value that is not there; its key is left out."""


def located(path: str, message: str) -> str:
    """Say where in a template something is wrong."""
    return f"{path}: {message}" if path else message


def is_undefined(value: Any) -> bool:
    """Whether a value is not there."""
    return value is UNDEFINED
