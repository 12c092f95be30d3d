"""Templates map a record to the value that a vendor expects.

A template is a JSON value whose strings may contain Jinja expressions. A string with only one
``{{ … }}`` becomes the expression's value, of any type; with text around it, it stays text. Keys
with an undefined value are left out. Filters, methods and operators return null for null; within
text, null is empty.

Numbers with a point are decimals, so that money stays exact: ``{{ price * 1.2 }}`` is not
11.999999999999998.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.filters import FILTERS, as_text
from singer_martech.mapping.undefined import UNDEFINED, TemplateError, failed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_martech.mapping.expressions import Expressions

_PATH = re.compile(
    r"""\{\{\s*([^\W\d]\w*)((?:\.[^\W\d]\w*|\[(?:"[^"\\]*"|'[^'\\]*')\])*)\s*
    (?:\|\s*(\w+)\s*)?\}\}""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([^\W\d]\w*)|\[(?:"([^"]*)"|'([^']*)')\]""")
_RESERVED = frozenset({"true", "false", "none", "True", "False", "None", "not"})
_MARKS = ("{{", "{%", "{#")


_Part = Callable[[Mapping[str, Any], list[Any]], Any]
"""Builds a part of the result, given the record and the values of the expressions."""


class Template:
    """A compiled template.

    Args:
        source: A JSON value.
        stream: The value of ``stream`` in the template.

    Attributes:
        fields: The fields of a record that it reads; None if it may read all.
        named: The fields that it reads by name.

    Raises:
        TemplateError: A string in it is not a valid template.
    """

    def __init__(self, source: Any, stream: str) -> None:
        """Compile the template."""
        self.fields: set[str] | None = set()
        self.named: set[str] = set()
        self._stream = stream
        self._expressions: Expressions | None = None
        self._build = self._compiled(source, "")

    def __call__(self, record: Mapping[str, Any]) -> Any:
        """Return the value for a record, or ``UNDEFINED``.

        Raises:
            TemplateError: An expression fails for this record.
        """
        try:
            if self._expressions is None:
                return self._build(record, [])
            names = {**record, "record": record, "stream": self._stream}
            return self._build(record, self._expressions.values(names))
        except TemplateError:
            raise
        except Exception as error:  # a user's expression may raise anything
            raise failed(error, "") from error

    def _compiled(self, source: Any, path: str) -> _Part:
        if isinstance(source, str):
            return self._compiled_text(source, path)
        if isinstance(source, Mapping):
            fields = [
                (str(key), self._compiled(value, f"{path}.{key}".removeprefix(".")))
                for key, value in source.items()
            ]
            return lambda record, values: _object(fields, record, values)
        if isinstance(source, list):
            items = [self._compiled(value, f"{path}[{i}]") for i, value in enumerate(source)]
            return lambda record, values: _array(items, record, values)
        return lambda _record, _values: source

    def _compiled_text(self, source: str, path: str) -> _Part:
        if not any(mark in source for mark in _MARKS):
            return lambda _record, _values: source
        match = _PATH.fullmatch(source.strip())
        if match is not None and match.group(1) not in _RESERVED:
            name = match.group(3)
            if name is None:
                return self._compiled_path(match)
            if name in FILTERS:
                return _filtered(self._compiled_path(match), FILTERS[name], path)
        from singer_martech.mapping import expressions  # noqa: PLC0415 - see that module

        if self._expressions is None:
            self._expressions = expressions.Expressions()
        slots: list[str | int] = [
            part if isinstance(part, str) else self._expressions.add(part.source, path)
            for part in expressions.parts(source, path)
        ]
        self._reads(self._expressions.fields, whole=self._expressions.reads_record)
        if len(slots) == 1 and isinstance(slots[0], int):
            slot = slots[0]
            return lambda _record, values: values[slot]
        return lambda _record, values: _joined(slots, values)

    def _reads(self, fields: Iterable[str], *, whole: bool) -> None:
        self.named.update(fields)
        if whole:
            self.fields = None
        elif self.fields is not None:
            self.fields.update(fields)

    def _compiled_path(self, match: re.Match[str]) -> _Part:
        """Compile a plain path to a lookup, which is many times faster than Jinja."""
        first = match.group(1)
        steps = ["".join(step) for step in _STEP.findall(match.group(2))]
        if first == "stream":
            return lambda _record, _values: UNDEFINED if steps else self._stream
        if first != "record":
            steps = [first, *steps]
        self._reads(steps[:1], whole=not steps)
        if len(steps) == 1:
            name = steps[0]
            return lambda record, _values: record.get(name, UNDEFINED)
        return lambda record, _values: _walk(record, steps)


def fields_of(*templates: Template | None) -> set[str] | None:
    """Return the fields of a record that the templates read; None if one may read all."""
    fields: set[str] = set()
    for template in templates:
        if template is not None:
            if template.fields is None:
                return None
            fields |= template.fields
    return fields


def unknown_fields(template: Template, schema: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the fields that a template reads by name and a schema lacks.

    Args:
        template: The template.
        schema: The stream's normalized schema. Without known columns, no field is unknown.

    Returns:
        Each field with the most similar name in the schema, if any.
    """
    columns = list(schema["properties"])
    unknown = sorted(template.named.difference(columns)) if columns else []
    return [
        (name, next(iter(difflib.get_close_matches(name, columns, n=1)), None))
        for name in unknown
        if not name.startswith("_sdc_")
    ]


def _filtered(lookup: _Part, apply: Callable[[Any], Any], path: str) -> _Part:
    """Apply a filter to a plain path, without Jinja."""

    def part(record: Mapping[str, Any], values: list[Any]) -> Any:
        value = lookup(record, values)
        if value is None or value is UNDEFINED:
            return value
        try:
            return apply(value)
        except Exception as error:  # a filter may raise anything
            raise failed(error, path) from error

    return part


def _walk(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return UNDEFINED
        value = value[step]
    return value


def _object(
    fields: list[tuple[str, _Part]], record: Mapping[str, Any], values: list[Any]
) -> dict[str, Any]:
    result = {}
    for key, field in fields:
        value = field(record, values)
        if value is not UNDEFINED:
            result[key] = value
    return result


def _array(items: list[_Part], record: Mapping[str, Any], values: list[Any]) -> list[Any]:
    return [value for item in items if (value := item(record, values)) is not UNDEFINED]


def _joined(slots: list[str | int], values: list[Any]) -> Any:
    texts = []
    for slot in slots:
        value = slot if isinstance(slot, str) else values[slot]
        if value is UNDEFINED:
            return UNDEFINED
        texts.append(as_text(value))
    return "".join(texts)
