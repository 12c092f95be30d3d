"""Validate records while decoding them, to send them as received.

One compiled decoder validates a record against its schema and extracts the few fields that the
mapping reads; the rest is skipped. A record that it does not accept takes the ordinary path,
which decodes all values exactly. Both paths give the same result, with one exception: a number
that no decoder can represent (an exponent of 18 digits) is sent as received if the mapping does
not read it, while the ordinary path rejects its record.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from singer_martech.mapping.schema_types import (
    ALL,
    ANNOTATIONS,
    NotExpressible,
    TypeBuilder,
    decimal_places,
    kinds_of,
)
from singer_martech.values.dynamic_struct import object_type
from singer_martech.values.json_codec import decode, is_utf8
from singer_martech.values.schema import normalize
from singer_martech.values.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

TEXT = frozenset({"string"})
SCALARS = frozenset({"string", "integer", "boolean", "null"})
"""The kinds of values that may be read; numbers with a point are excluded to stay exact."""

_MIN_MISSES = 1000
_OF_RECORDS = ANNOTATIONS | {
    "additionalProperties",
    "definitions",
    "properties",
    "required",
    "type",
}


class FastPath:
    """Decodes the records of one stream.

    Attributes:
        reads: The fields whose values are extracted, in this order.
    """

    def __init__(
        self,
        reads: Sequence[str],
        struct: type[msgspec.Struct],
        read: Callable[[Any], tuple[Any, ...]],
        checks: Sequence[tuple[Callable[[Any], Any], Callable[[Any], bool]]],
        *,
        skips: bool,
    ) -> None:
        """Store the results of ``compile_fast_path``."""
        self.reads = reads
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self._read = read
        self._checks = checks
        self._skips = skips
        self._is_decided = not checks and not skips
        self._only = reads[0] if len(reads) == 1 else None
        self._records = self._misses = 0

    def values(self, record: bytes) -> tuple[Any, ...] | None:
        """Return the values of ``reads``, or None if the record must take the ordinary path."""
        self._records += 1
        try:
            found = self._decode(record)
        except (ValueError, RecursionError):
            self.miss()
            return None
        if self._is_decided or self._conforms(found, record):
            return self._read(found)
        self.miss()
        return None

    def named(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the values of ``reads`` by name."""
        if self._only is not None:
            return {self._only: values[0]}
        return dict(zip(self.reads, values, strict=True))

    def miss(self) -> None:
        """Count a record that takes the ordinary path; disable the fast path if most records do."""
        self._misses += 1
        if self._misses >= _MIN_MISSES and 2 * self._misses > self._records:
            self._decode = _reject_all

    def _conforms(self, found: Any, record: bytes) -> bool:
        """Check what the decoder cannot: skipped text and some fields."""
        if self._skips and not is_utf8(record):
            return False
        for get, check in self._checks:
            value = get(found)
            if value is not None and not check(value):
                return False
        return True


def _reject_all(record: bytes) -> NoReturn:
    raise ValueError(record)


def compile_fast_path(
    schema: Mapping[str, Any],
    reads: Sequence[str],
    kinds: Mapping[str, Collection[str]],
    required: Collection[str] = (),
) -> FastPath | None:
    """Compile the fast path of a stream's records.

    Args:
        schema: Their JSON Schema.
        reads: The fields to extract. A record that lacks one takes the ordinary path.
        kinds: The JSON types that a field may have on the fast path; any by default.
        required: Further fields that a record must have.

    Returns:
        None if the schema has no known columns or has constraints that a decoder cannot check.
    """
    schema, _ = normalize(schema)
    properties = schema["properties"]
    needed = {*reads, *required, *schema.get("required", ())}
    if (
        not properties
        or not _OF_RECORDS.issuperset(schema)
        or "object" not in kinds_of(schema)
        or not needed.issubset(properties)
    ):
        return None
    types = TypeBuilder()
    fields, checks = [], {}
    for name in properties:  # most records have them in this order
        kind, check = _type_and_check(types, name, schema, kinds.get(name, ALL))
        if check is not None:
            if name in reads and kind is msgspec.Raw:
                return None
            checks[name] = check
        fields.append((name, kind, msgspec.NODEFAULT if name in needed else None))
    struct = object_type(fields)
    if struct is None:
        return None
    attributes = dict(zip(properties, struct.__struct_fields__, strict=True))
    read = _reader([attributes[name] for name in reads])
    getters = [(attrgetter(attributes[name]), check) for name, check in checks.items()]
    return FastPath(reads, struct, read, getters, skips=types.skips)


def _type_and_check(
    types: TypeBuilder, name: str, schema: Mapping[str, Any], allowed: Collection[str]
) -> tuple[Any, Callable[[Any], bool] | None]:
    """Return the type of a field, and a function that checks what the type cannot."""
    field = schema["properties"][name]
    places = decimal_places(field["multipleOf"]) if "multipleOf" in field else None
    try:
        if places is None:
            return types.type_of(field, frozenset(allowed)), None
        rest = {key: value for key, value in field.items() if key != "multipleOf"}
        kind = types.type_of(rest, frozenset(allowed))
        if kind is not msgspec.Raw:
            return kind, partial(_has_places, places)
    except NotExpressible:
        pass
    types.skips = True
    alone = {"properties": {name: field}, "definitions": schema.get("definitions", {})}
    return msgspec.Raw, _FieldCheck(name, alone).is_valid


def _has_places(places: int, value: Any) -> bool:
    """Whether a value is not a float, or has at most this number of decimal places."""
    return value.__class__ is not float or round(value, places) == value


class _FieldCheck:
    """Validates one field that no type can express, like the ordinary path."""

    _MAX_REMEMBERED = 1000
    _MAX_LENGTH = 64

    def __init__(self, name: str, schema: Mapping[str, Any]) -> None:
        self._name = name
        self._validator = RecordValidator(name, schema)
        self._remembered: dict[bytes, bool] = {}

    def is_valid(self, value: msgspec.Raw) -> bool:
        """Whether the JSON of a value is valid."""
        raw = bytes(value)
        known = self._remembered.get(raw)
        if known is None:
            known = self._is_valid(raw)
            if len(raw) <= self._MAX_LENGTH and len(self._remembered) < self._MAX_REMEMBERED:
                self._remembered[raw] = known
        return known

    def _is_valid(self, raw: bytes) -> bool:
        try:
            return self._validator.is_valid({self._name: decode(raw)})
        except (ArithmeticError, RecursionError, ValueError):
            return False


def _reader(attributes: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that reads attributes of an object."""
    if not attributes:
        return lambda _: ()
    get = attrgetter(*attributes)
    return (lambda found: (get(found),)) if len(attributes) == 1 else get
