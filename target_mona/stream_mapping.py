"""The mapping of one stream, compiled."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_martech.errors import SettingError
from singer_martech.mapping.stream_mappings import compiled, mapping_error
from singer_martech.mapping.template import Template
from singer_martech.values.json_codec import encode
from target_mona.rules import ACTIONS, ARC_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEYS = ("arc_class", "context_id", "export_timestamp", "message", "action")
"""The keys of a mapping."""

_ARC_CLASS = re.compile(r"(?!.*\.\.)[\w@-](?:[\w@.-]*[\w@-])?", re.ASCII)


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
        is_replaced: Whether characters of the stream's name were replaced in the arc class.
        context_fields: The fields that make the context id, unless a template makes it.
        values: Gives the values of the mapping's keys that have a template, by key.
        keys: These keys.
    """

    fixed_arc: ArcClass | None
    is_replaced: bool
    context_fields: Sequence[str]
    values: Template
    keys: frozenset[str]

    @property
    def reads(self) -> set[str] | None:
        """The fields of a record that it reads; None if it may read any."""
        read = self.values.fields
        return None if read is None else read.union(self.context_fields)

    @property
    def plain_arc(self) -> ArcClass | None:
        """The arc class, if messages are whole records with one field as their context id."""
        is_plain = len(self.context_fields) == 1 and not self.keys
        return self.fixed_arc if is_plain else None

    def check_for_ledger(self, stream: str, action: object) -> None:
        """Check that Mona merges the stream's messages by their context id.

        Raises:
            SettingError: It does not.
        """
        if not self.context_fields and "context_id" not in self.keys:
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
        _check_constants(stream, mapping)
        templates = {key: value for key, value in mapping.items() if value is not None}
        given = templates.pop("arc_class", None)
        name = given or _default_arc_class(stream)
        if "{{" in name:
            templates["arc_class"] = name
        fields = _context_fields(stream, templates.get("context_id"), key_properties)
        if fields:
            templates.pop("context_id", None)
        timestamp = templates.get("export_timestamp")
        if isinstance(timestamp, str) and "{{" not in timestamp:
            # any field name
            templates["export_timestamp"] = f"{{{{ record[{encode(timestamp).decode()}] }}}}"
        values = {key: compiled(value, stream, key) for key, value in templates.items()}
        return cls(
            arc_class(name) if "{{" not in name else None,
            not given and name != stream,
            fields,
            Template(values, stream),
            frozenset(templates),
        )


class ArcClasses:
    """The arc classes of the streams of a run."""

    def __init__(self) -> None:
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


def _context_fields(stream: str, value: Any, key_properties: Sequence[str]) -> Sequence[str]:
    """Return the fields that make the context id; none if a template makes it."""
    if value is None:
        return tuple(key_properties)
    if isinstance(value, str):
        return () if "{{" in value else (value,)
    if (
        isinstance(value, list)
        and value
        and all(isinstance(field, str) and "{{" not in field for field in value)
    ):
        return tuple(value)
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
