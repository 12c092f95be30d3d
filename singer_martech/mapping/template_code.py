"""Compile the structure of templates to Python code: objects, lists, texts and plain fields.

It does not need Jinja, whose import takes a large part of a plugin's start time.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from singer_martech.mapping.filters import FILTERS, as_text
from singer_martech.mapping.function_builder import NotCompilable, formatted
from singer_martech.mapping.undefined import UNDEFINED, failed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from singer_martech.mapping.function_builder import FunctionBuilder

_PATH = re.compile(
    r"""\{\{\s*([^\W\d]\w*)((?:\.[^\W\d]\w*|\[(?:"[^"\\]*"|'[^'\\]*')\]){0,100})\s*
    (?:\|\s*(\w+)\s*)?\}\}""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([^\W\d]\w*)|\[(?:"([^"]*)"|'([^']*)')\]""")
_RESERVED = frozenset({"true", "false", "none", "True", "False", "None", "not"})


class Emitted(NamedTuple):
    """The code of a value.

    Attributes:
        code: A variable or a literal.
        may_be_undefined: Whether it may be ``UNDEFINED``.
    """

    code: str
    may_be_undefined: bool = False


class Part(Protocol):
    """The source between ``{{`` and ``}}``."""

    @property
    def path(self) -> str:
        """The path within the template, for errors."""

    @property
    def fields(self) -> Collection[str]:
        """The fields of a record that it reads."""

    @property
    def reads_record(self) -> bool:
        """Whether it also reads the record as a whole."""

    @property
    def nested_fields(self) -> Collection[tuple[str, ...]]:
        """The keys from the record to each nested field that it reads."""

    def value(self, names: Mapping[str, Any]) -> Any:
        """Return the value, or ``UNDEFINED``.

        Args:
            names: The record's fields, ``record`` and ``stream``.

        Raises:
            TemplateError: It fails for this record.
        """

    def emit(self, code: FunctionBuilder) -> Emitted:
        """Add the lines that evaluate it.

        Raises:
            NotCompilable: Only ``value`` can evaluate it.
        """


class Path(NamedTuple):
    """A path to a value, with a filter or without.

    Attributes:
        path: The path within the template, for errors.
        root: ``record`` or ``stream``.
        steps: The keys from there to the value.
        filter: The name of the filter.
    """

    path: str
    root: str
    steps: tuple[str, ...]
    filter: str | None

    @classmethod
    def parsed(cls, source: str, path: str) -> Path | None:
        """Return the path in a text, or None if the text has anything else."""
        match = _PATH.fullmatch(source.strip())
        if match is None or match.group(1) in _RESERVED:
            return None
        first, rest, name = match.groups()
        if name is not None and name not in FILTERS:
            return None
        steps = ["".join(step) for step in _STEP.findall(rest)]
        if first in {"record", "stream"}:
            return cls(path, first, tuple(steps), name)
        return cls(path, "record", (first, *steps), name)

    @property
    def fields(self) -> Collection[str]:
        """The field that it reads."""
        return self.steps[:1] if self.root == "record" else ()

    @property
    def reads_record(self) -> bool:
        """Whether it is the record itself."""
        return self.root == "record" and not self.steps

    @property
    def nested_fields(self) -> Collection[tuple[str, ...]]:
        """The keys of the nested field that it reads."""
        return (self.steps,) if self.root == "record" and len(self.steps) > 1 else ()

    def value(self, names: Mapping[str, Any]) -> Any:
        """Return the value; see :class:`Part`."""
        value = _walk(names[self.root], self.steps)
        if self.filter is None or value is None or value is UNDEFINED:
            return value
        try:
            return FILTERS[self.filter](value)
        except Exception as error:  # a filter may raise anything
            raise failed(error, self.path) from error

    def emit(self, code: FunctionBuilder) -> Emitted:
        """Add the lines that evaluate it; see :class:`Part`."""
        found = self._emit_lookup(code)
        if self.filter is None:
            return found
        apply = code.constant(FILTERS[self.filter])
        value = found.code
        no_value = f"{value} is None or {value} is UNDEFINED"
        applied = code.assign(f"{value} if {no_value} else {apply}({value})", is_pure=True)
        return found._replace(code=applied)

    def _emit_lookup(self, code: FunctionBuilder) -> Emitted:
        if self.root == "stream":
            return (
                Emitted("UNDEFINED", may_be_undefined=True)
                if self.steps
                else Emitted(code.literal(code.stream))
            )
        if not self.steps:
            return Emitted(code.record())
        first, *others = self.steps
        field = code.field(first)
        if not others:
            return Emitted(field, code.may_lack(first))
        steps = code.constant(tuple(others))
        value = code.assign(f"{code.constant(_walk)}({field}, {steps})", is_pure=True)
        return Emitted(value, may_be_undefined=True)


class Text(NamedTuple):
    """A string with expressions; with text around them, its value is text."""

    parts: Sequence[str | Part]


def emit_value(code: FunctionBuilder, value: Any, *, inline: bool) -> Emitted:
    """Add the lines that evaluate a parsed template.

    Args:
        code: Gets the lines.
        value: A JSON value whose templates are replaced by :class:`Text`.
        inline: Whether expressions are compiled; otherwise Jinja evaluates them.
    """
    if isinstance(value, Text):
        return _emit_text(code, value, inline=inline)
    if isinstance(value, dict):
        members = [
            (code.literal(key), emit_value(code, item, inline=inline))
            for key, item in value.items()
        ]
        return _emit_object(code, members)
    if isinstance(value, list):
        items = [emit_value(code, item, inline=inline) for item in value]
        listed = ", ".join(item.code for item in items)
        if not any(item.may_be_undefined for item in items):
            return Emitted(code.assign(f"[{listed}]"))
        return Emitted(code.assign(f"[x for x in ({listed},) if x is not UNDEFINED]"))
    return Emitted(code.literal(value))


def _emit_object(code: FunctionBuilder, members: Sequence[tuple[str, Emitted]]) -> Emitted:
    sure = list(itertools.takewhile(lambda member: not member[1].may_be_undefined, members))
    listed = ", ".join(f"{key}: {item.code}" for key, item in sure)
    result = code.assign(f"{{{listed}}}")
    for key, item in members[len(sure) :]:
        condition = f"if {item.code} is not UNDEFINED: " if item.may_be_undefined else ""
        code.line(f"{condition}{result}[{key}] = {item.code}")
    return Emitted(result)


def _emit_text(code: FunctionBuilder, text: Text, *, inline: bool) -> Emitted:
    parts = [
        part if isinstance(part, str) else _emit_part(code, part, inline=inline)
        for part in text.parts
    ]
    values = [part for part in parts if isinstance(part, Emitted)]
    if len(parts) == len(values) == 1:
        return values[0]
    as_string, to_text = code.constant(str), code.constant(as_text)
    shown = [
        formatted(part)
        if isinstance(part, str)
        else f"{{{part.code} if {part.code}.__class__ is {as_string} else {to_text}({part.code})}}"
        for part in parts
    ]
    joined = f"f'{''.join(shown)}'"
    unsure = [f"{value.code} is UNDEFINED" for value in values if value.may_be_undefined]
    if unsure:
        joined = f"UNDEFINED if {' or '.join(unsure)} else {joined}"
    return Emitted(code.assign(joined, is_pure=True), bool(unsure))


def _emit_part(code: FunctionBuilder, part: Part, *, inline: bool) -> Emitted:
    if inline:
        mark = code.mark()
        try:
            return part.emit(code)
        except NotCompilable:
            code.undo(mark)
    value = code.assign(f"{code.constant(part.value)}({code.names()})")
    return Emitted(value, may_be_undefined=True)


def _walk(value: Any, steps: Iterable[str]) -> Any:
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return UNDEFINED
        value = value[step]
    return value
