"""The undefined value and the error of templates, with or without Jinja."""

from __future__ import annotations

from enum import Enum
from typing import Any


class TemplateError(ValueError):
    """A template cannot be compiled, or fails for a record; the text says where and why."""


class _Undefined(Enum):
    UNDEFINED = "undefined"


UNDEFINED = _Undefined.UNDEFINED
"""Stands for a missing value. Its key is left out."""


def located(path: str, message: str) -> str:
    """Put the path within a template before a message."""
    return f"{path}: {message}" if path else message


def failed(error: Exception, path: str) -> TemplateError:
    """Return the error of an expression that fails for a record."""
    reason = str(error)
    if isinstance(error, ArithmeticError):  # whose texts are names of classes
        reason = "a division by zero, or a number out of range"
    return TemplateError(located(path, f"{type(error).__name__}: {reason}"))


def is_undefined(value: Any) -> bool:
    """Whether a value is undefined."""
    return value is UNDEFINED
