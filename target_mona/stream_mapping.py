"""The mapping of one stream, compiled."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.errors import SettingError
from singer_martech.mapping.stream_mappings import compiled, mapping_error
from singer_martech.mapping.template import fields_of
from singer_martech.values.json_codec import encode
from target_mona.rules import ACTIONS, ARC_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_martech.mapping.template import Template

KEYS = ("arc_class", "context_id", "export_timestamp", "message", "action")
"""The keys of a mapping."""

_ARC_CLASS = re.compile(r"[\w@-]+(\.[\w@-]+)*", re.ASCII)


class ArcClass(NamedTuple):
    """An arc class.

    Attributes:
        name: Its name.
        prefix: The start of a message of this class.
        dots: The number of dots in its name.
    """

    name: str
    prefix: bytes
    dots: int


class StreamMapping(NamedTuple):
    """The parts of the messages of one stream.

    Attributes:
        fixed_arc: The arc class, if it is the same for all records.
        arc_class: Gives its name otherwise.
        is_replaced: Whether characters of the stream's name were replaced in the arc class.
        context_fields: The fields that make the context id.
        context_template: Makes it instead of the fields.
        export_timestamp: Gives the export timestamp.
        message: Gives the message; None for the whole record.
        action: Gives the action.
    """

    fixed_arc: ArcClass | None
    arc_class: Template
    is_replaced: bool
    context_fields: Sequence[str]
    context_template: Template | None
    export_timestamp: Template | None
    message: Template | None
    action: Template | None

    @property
    def reads(self) -> set[str] | None:
        """The fields of a record that it reads; None if it may read any."""
        templates = (self.arc_class, self.context_template, self.export_timestamp)
        read = fields_of(*templates, self.message, self.action)
        return None if read is None else read.union(self.context_fields)

    def check_for_ledger(self, stream: str, action: object) -> None:
        """Check that Mona merges the stream's messages by their context id.

        Raises:
            SettingError: It does not.
        """
        if not self.context_fields and self.context_template is None:
            problem = (
                "has no context id, so Mona adds every message and none replaces another: set the "
                "key 'context_id'"
            )
        elif action == "ADD":
            problem = "has the action ADD, with which Mona adds every message to the one before it"
        else:
            return
        raise SettingError(
            f"setting 'ledger': stream '{stream}' {problem}, or load the stream without a ledger"
        )

    @classmethod
    def from_mapping(
        cls, stream: str, mapping: Mapping[str, Any], key_properties: Sequence[str]
    ) -> StreamMapping:
        """Compile a mapping.

        Raises:
            SettingError: A value of it cannot be used.
        """

        def optional(key: str) -> Template | None:
            value = mapping.get(key)
            return None if value is None else compiled(value, stream, key)

        fields, template = _context_source(stream, mapping.get("context_id"), key_properties)
        timestamp = mapping.get("export_timestamp")
        if isinstance(timestamp, str) and "{{" not in timestamp:
            timestamp = f"{{{{ record[{encode(timestamp).decode()}] }}}}"  # any field name
        _check_constants(stream, mapping)
        given = mapping.get("arc_class")
        name = given or _default_arc_class(stream)
        return cls(
            arc_class(name) if "{{" not in name else None,
            compiled(name, stream, "arc_class"),
            not given and name != stream,
            fields,
            template,
            None if timestamp is None else compiled(timestamp, stream, "export_timestamp"),
            optional("message"),
            optional("action"),
        )


class ArcClasses:
    """The arc classes of the streams of a run."""

    def __init__(self) -> None:
        """Begin without streams."""
        self._streams: dict[str, dict[str, bool]] = {}

    def add(self, stream: str, mapping: StreamMapping) -> None:
        """Add a stream.

        Raises:
            SettingError: It has the arc class of another stream only because characters of a
                name were replaced.
        """
        if mapping.fixed_arc is None:
            return
        name = mapping.fixed_arc.name
        streams = self._streams.setdefault(name, {})
        for other, is_replaced in streams.items():
            if other != stream and (is_replaced or mapping.is_replaced):
                raise SettingError(
                    f"setting 'streams': the streams '{other}' and '{stream}' would both have the "
                    f"arc class '{name}', because characters that Mona does not allow are "
                    "replaced by '_'; set the key 'arc_class' for both"
                )
        streams[stream] = mapping.is_replaced


@lru_cache(maxsize=1024)
def arc_class(name: str) -> ArcClass:
    """Return the arc class with this name.

    Raises:
        MappingError: Mona does not allow the name.
    """
    if not _ARC_CLASS.fullmatch(name):
        raise ARC_CLASS.broken_by(f"its arcClass would be '{name}'")
    return ArcClass(name, b'{"arcClass":%s,' % encode(name), name.count("."))


def _default_arc_class(stream: str) -> str:
    allowed = re.sub(r"[^\w@.-]", "_", stream, flags=re.ASCII)
    return ".".join(filter(None, allowed.split("."))) or "_"


def _context_source(
    stream: str, value: Any, key_properties: Sequence[str]
) -> tuple[Sequence[str], Template | None]:
    if value is None:
        return tuple(key_properties), None
    if isinstance(value, str):
        if "{{" in value:
            return (), compiled(value, stream, "context_id")
        return (value,), None
    if (
        isinstance(value, list)
        and value
        and all(isinstance(field, str) and "{{" not in field for field in value)
    ):
        return tuple(value), None
    raise mapping_error(stream, "context_id", "must be a list of fields or one template")


def _check_constants(stream: str, mapping: Mapping[str, Any]) -> None:
    """Check what can be checked without a record."""
    name, action, message = (mapping.get(key) for key in ("arc_class", "action", "message"))
    if name is not None and not isinstance(name, str):
        raise mapping_error(stream, "arc_class", "must be text or a template")
    if name and "{{" not in name and not _ARC_CLASS.fullmatch(name):
        problem = "may hold letters, digits, '-', '_', '@' and, between them, dots"
        raise mapping_error(stream, "arc_class", problem)
    if action is not None and "{{" not in str(action) and action not in ACTIONS:
        raise mapping_error(stream, "action", f"must be one of {', '.join(ACTIONS)}")
    if message is not None and (
        not isinstance(message, (dict, str)) or (isinstance(message, str) and "{{" not in message)
    ):
        raise mapping_error(stream, "message", "must be an object, or a template that makes one")
