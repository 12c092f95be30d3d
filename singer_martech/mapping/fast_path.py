"""The short way of a record: checked while it is decoded, and sent as it was received.

One compiled decoder checks a record against its schema and takes out the few fields that
decide where it goes; the rest is passed over. What it refuses goes the long way, which
decodes every value exactly and decides: the two ways do not differ in what becomes of a record.
The one exception: a number that no decoder can hold (an exponent of 18 digits) goes out as it
came where nobody looks at it, while the long way, which has to read it, rejects its record.
"""

from __future__ import annotations

from functools import reduce
from operator import attrgetter, or_
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec

from singer_martech.values.dynamic_struct import object_type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

TEXT = frozenset({"string"})
SCALARS = frozenset({"string", "integer", "boolean", "null"})
"""What may be looked at: not a number with a point, which has to stay exact."""
ANY = SCALARS | {"number", "object", "array"}

_MIN_REFUSALS = 1000
_ANNOTATIONS = frozenset(
    {"$comment", "$id", "$schema", "default", "description", "examples", "format", "title"}
)
_OF_RECORDS = _ANNOTATIONS | {"additionalProperties", "properties", "required", "type"}
_ANYTHING: Any = ({"additionalProperties": True}, {"additionalProperties": {}})
_LENGTHS = {"minLength": "min_length", "maxLength": "max_length"}
_RANGE = {"minimum": "ge", "maximum": "le"}
_SIXTY_FOUR_BITS = range(-(2**63), 2**63)
_STARTS = {
    "object": b"{",
    "array": b"[",
    "string": b'"',
    "number": b"-0123456789",
    "boolean": b"tf",
    "null": b"n",
}
"""How the JSON of each type begins."""


class FastPath:
    """Decodes the records of one stream.

    Attributes:
        reads: The fields whose values are taken out, in this order.
    """

    def __init__(
        self,
        reads: Sequence[str],
        struct: type[msgspec.Struct],
        read: Callable[[Any], tuple[Any, ...]],
        starts: Sequence[tuple[Callable[[Any], Any], bytes]],
    ) -> None:
        """Take over what ``compile_fast_path`` compiled."""
        self.reads = reads
        self._find: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self._read = read
        self._starts = starts
        self._only = reads[0] if len(reads) == 1 else None
        self._tried = self._after_error_status = 0

    def values(self, record: bytes) -> tuple[Any, ...] | None:
        """Return the values of ``reads``, or None where a record has to go the long way."""
        self._tried += 1
        try:
            found = self._find(record)
            fits = not self._starts or self._fits(found, record)
        except (ValueError, RecursionError):
            fits = False
        if fits:
            return self._read(found)
        self.refuse()
        return None

    def named(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the values of ``reads`` by their names."""
        if self._only is not None:
            return {self._only: values[0]}
        return dict(zip(self.reads, values, strict=True))

    def refuse(self) -> None:
        """Count a record that has to go the long way; when most have to, the others follow."""
        self._after_error_status += 1
        if self._after_error_status >= _MIN_REFUSALS and 2 * self._after_error_status > self._tried:
            self._find = _refuse_all

    def _fits(self, found: Any, record: bytes) -> bool:
        """Whether what was passed over unread, which is whole JSON, is UTF-8 and of its type."""
        if not record.isascii():
            record.decode()
        for get, starts in self._starts:  # noqa: SIM110 - a generator costs more than the rest
            if memoryview(get(found))[0] not in starts:
                return False
        return True


def _refuse_all(record: bytes) -> NoReturn:
    raise ValueError(record)


def compile_fast_path(
    schema: Mapping[str, Any],
    reads: Sequence[str],
    kinds: Mapping[str, Collection[str]],
    required: Collection[str] = (),
) -> FastPath | None:
    """Compile the short way of a stream's records.

    Args:
        schema: Their JSON Schema.
        reads: The fields to take out; a record that lacks one goes the long way.
        kinds: The JSON types that a field may have on the short way; any by default.
        required: Further fields that a record must have for it.

    Returns:
        None where the schema asks for more than types and simple bounds.
    """
    try:
        return _compile(schema, reads, kinds, required)
    except (TypeError, ValueError):
        return None  # no schema at all, which nobody says where records are not validated


def _compile(
    schema: Mapping[str, Any],
    reads: Sequence[str],
    kinds: Mapping[str, Collection[str]],
    required: Collection[str],
) -> FastPath | None:
    properties = schema["properties"]
    if "object" not in schema.get("type", "object"):
        return None
    needed = {*reads, *required, *schema.get("required", ())}
    if not _OF_RECORDS.issuperset(schema) or not needed.issubset(properties):
        return None
    fields, beginnings = [], {}
    for name, field in properties.items():  # in this order, since so they come in most records
        kind = _compiled(field, frozenset(kinds.get(name, ANY)))
        if kind is None:
            return None
        field_type, field_starts = kind
        default: Any = None
        if field_starts:
            default = msgspec.Raw(field_starts[:1])
            beginnings[name] = field_starts
        if name in needed:
            default = msgspec.NODEFAULT
        fields.append((name, field_type, default))
    struct = object_type(fields)
    if struct is None:
        return None
    attributes = dict(zip(properties, struct.__struct_fields__, strict=True))
    starts = [(attrgetter(attributes[name]), each) for name, each in beginnings.items()]
    return FastPath(reads, struct, _reader([attributes[name] for name in reads]), starts)


def _reader(attributes: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the values of attributes out of an object."""
    if not attributes:
        return lambda _: ()
    get = attrgetter(*attributes)
    return (lambda found: (get(found),)) if len(attributes) == 1 else get


def _compiled(schema: Any, allowed: frozenset[str]) -> tuple[Any, bytes] | None:
    """Return a field's type, and how its JSON must begin where it is passed over unread."""
    if not isinstance(schema, dict):
        return None
    given = schema.get("type", [*ANY])
    kinds = {given} if isinstance(given, str) else set(given)
    if "number" in kinds:
        kinds.add("integer")
    kinds &= allowed
    bounds = {key: value for key, value in schema.items() if key not in _ANNOTATIONS | {"type"}}
    if kinds & {"object", "array"}:
        is_open = not bounds or bounds in _ANYTHING
        if not is_open or ("integer" in kinds) != ("number" in kinds):
            return None
        return msgspec.Raw, b"".join(_STARTS.get(kind, b"") for kind in sorted(kinds))
    if not kinds or not _are_simple(bounds, kinds):
        return None
    types = {
        "null": None,
        "boolean": bool,
        "number": float,
        "string": _bounded(str, _LENGTHS, bounds),
        "integer": _bounded(int, _RANGE, bounds),
    }
    return reduce(or_, (types[kind] for kind in sorted(kinds, reverse=True))), b""


def _are_simple(bounds: Mapping[str, Any], kinds: Collection[str]) -> bool:
    """Whether a decoder can check all that a schema asks for beside types."""
    if "number" in kinds and not _RANGE.keys().isdisjoint(bounds):
        return False
    return all(
        key in {**_LENGTHS, **_RANGE} and type(value) is int and value in _SIXTY_FOUR_BITS
        for key, value in bounds.items()
    )


def _bounded(kind: Any, names: Mapping[str, str], bounds: Mapping[str, Any]) -> Any:
    meta = {ours: bounds[name] for name, ours in names.items() if name in bounds}
    return Annotated[kind, msgspec.Meta(**meta)] if meta else kind
