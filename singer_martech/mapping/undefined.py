"""The undefined value and the error of templates, independent of Jinja."""

from __future__ import annotations

from enum import Enum


class TemplateError(ValueError):
    """A template cannot be compiled, or fails for a record; the text has path and reason."""


class _Undefined(Enum):
    UNDEFINED = "undefined"


UNDEFINED = _Undefined.UNDEFINED
"""A missing value; its key is left out of the result."""


def located(path: str, message: str) -> str:
    """Prefix a message with the path within a template."""
    return f"{path}: {message}" if path else message


def failed(error: Exception, path: str) -> TemplateError:
    """Return the error of an expression that fails for a record."""
    reason = str(error)
    if isinstance(error, ArithmeticError):  # the text of such an error is a class name
        reason = "a division by zero, or a number out of range"
    return TemplateError(located(path, f"{type(error).__name__}: {reason}"))
