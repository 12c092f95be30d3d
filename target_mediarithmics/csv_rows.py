"""Flat documents as CSV (RFC 4180): a header, then one row per document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.errors import MappingError
from singer_martech.mapping.filters import as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_QUOTED = frozenset(',"\r\n')


def header(columns: Sequence[str]) -> bytes:
    """Return the first line, with its line break.

    Raises:
        MappingError: A name contains half of a surrogate pair.
    """
    return _line(columns) + b"\r\n"


def row(columns: Sequence[str], document: Mapping[str, Any]) -> bytes:
    """Return a document's row without the line feed that ends every line of an upload.

    A null or missing value becomes an empty cell.

    Raises:
        MappingError: A value is nested, has no column, or contains half of a surrogate pair.
    """
    if len(document) > len(columns) or not document.keys() <= set(columns):
        extra = next(name for name in document if name not in columns)
        raise MappingError(
            f"{extra}: is not among the columns of the CSV, which the mapping or the schema fixes"
        )
    return _line([_cell(name, document.get(name)) for name in columns]) + b"\r"


def _cell(name: str, value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        raise MappingError(f"{name}: is nested, which CSV cannot hold; use APPLICATION_X_NDJSON")
    try:
        return as_text(value)
    except ValueError as error:  # a number of thousands of digits
        raise MappingError(f"{name}: {error}") from error


def _line(cells: Sequence[str]) -> bytes:
    if len(cells) == 1 and not cells[0]:
        return b'""'  # readers skip an empty line
    try:
        return ",".join(map(_quoted, cells)).encode("utf-8")
    except UnicodeEncodeError as error:
        raise MappingError("half of a surrogate pair cannot be written as UTF-8 CSV") from error


def _quoted(text: str) -> str:
    if _QUOTED.isdisjoint(text):
        return text
    return '"{}"'.format(text.replace('"', '""'))
