"""Templates map a record to the value that a vendor expects.

A template is a JSON value whose strings may contain Jinja expressions. A string with only one
``{{ … }}`` becomes the expression's value, of any type; with text around it, it stays text. Keys
with an undefined value are left out. Filters, methods and operators return null for null; within
text, null is empty.

Numbers with a point are decimals, so that money stays exact: ``{{ price * 1.2 }}`` is not
11.999999999999998.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.function_builder import FunctionBuilder
from singer_martech.mapping.template_code import Path, Text, emit_value
from singer_martech.mapping.undefined import TemplateError, failed
from singer_martech.values.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_martech.mapping.template_code import Part

_MARKS = ("{{", "{%", "{#")


class Template:
    """A compiled template.

    Args:
        source: A JSON value, which may contain other templates.
        stream: The value of ``stream`` in the template.

    Attributes:
        fields: The fields of a record that it reads; None if it may read all.
        named: The fields that it reads by name.
        parsed: The JSON value with parsed strings.

    Raises:
        TemplateError: A string in it is not a valid template.
    """

    def __init__(self, source: Any, stream: str) -> None:
        self.fields: set[str] | None = set()
        self.named: set[str] = set()
        self._stream = stream
        self.parsed = self._parse(source, "")

    def __call__(self, record: Mapping[str, Any]) -> Any:
        """Return the value for a record, or ``UNDEFINED``.

        Raises:
            TemplateError: An expression fails for this record.
        """
        try:
            return self._of_record(record)
        except Exception:  # noqa: BLE001 - an expression of the user may fail in any way
            return self._evaluated(record)

    def of_fields(self, fields: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
        """Return a function that returns the value for the values of these fields.

        The function raises what a call raises.
        """
        function = self._function(fields)

        def value(values: Sequence[Any]) -> Any:
            try:
                return function(values)
            except Exception:  # noqa: BLE001 - likewise
                return self._evaluated(dict(zip(fields, values, strict=True)))

        return value

    def _evaluated(self, record: Mapping[str, Any]) -> Any:
        """Return the value for a record without compiled expressions."""
        try:
            return self._by_jinja(record)
        except TemplateError:
            raise
        except Exception as error:  # it may be nested too deep
            raise failed(error, "") from error

    @cached_property
    def _of_record(self) -> Callable[[Mapping[str, Any]], Any]:
        return self._function(None)

    @cached_property
    def _by_jinja(self) -> Callable[[Mapping[str, Any]], Any]:
        return self._compiled(None, inline=False)

    def _function(self, fields: Sequence[str] | None) -> Callable[[Any], Any]:
        try:
            return self._compiled(fields, inline=True)
        except (SyntaxError, RecursionError, MemoryError):  # nested too deep for Python
            return self._compiled(fields, inline=False)

    def _compiled(self, fields: Sequence[str] | None, *, inline: bool) -> Callable[[Any], Any]:
        code = FunctionBuilder(self._stream, fields)
        return code.function(emit_value(code, self.parsed, inline=inline).code)

    def _parse(self, source: Any, path: str) -> Any:
        """Replace the strings that are templates."""
        if isinstance(source, Template):
            self.named |= source.named
            self.fields = fields_of(self, source)
            return source.parsed
        if isinstance(source, str):
            return self._parse_text(source, path)
        if isinstance(source, Mapping):
            return {
                str(key): self._parse(value, f"{path}.{key}".removeprefix("."))
                for key, value in source.items()
            }
        if isinstance(source, list):
            return [self._parse(value, f"{path}[{i}]") for i, value in enumerate(source)]
        return source

    def _parse_text(self, source: str, path: str) -> Any:
        if not any(mark in source for mark in _MARKS):
            return source
        field = Path.parsed(source, path)
        if field is not None:
            parts: Sequence[Any] = [field]
        else:
            from singer_martech.mapping import expressions  # noqa: PLC0415 - see that module

            parts = expressions.parts(source, path)
        for part in parts:
            if not isinstance(part, str):
                self._reads(part)
        return Text(parts)

    def _reads(self, part: Part) -> None:
        self.named.update(part.fields)
        if part.reads_record:
            self.fields = None
        elif self.fields is not None:
            self.fields.update(part.fields)


def fields_of(*templates: Template | None) -> set[str] | None:
    """Return the fields of a record that the templates read; None if one may read all."""
    fields: set[str] = set()
    for template in templates:
        if template is not None:
            if template.fields is None:
                return None
            fields |= template.fields
    return fields


def unknown_fields(template: Template, schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields that a template reads by name and a normalized schema lacks.

    Without known columns, no field is unknown.

    Returns:
        Each field with a hint at the most similar name in the schema, or empty text.
    """
    columns = list(schema["properties"])
    unknown = sorted(template.named.difference(columns)) if columns else []
    return [(name, did_you_mean(name, columns)) for name in unknown]
