"""Validate records while decoding them, to send them as received.

One compiled decoder validates a record against its schema and extracts the few fields that the
mapping reads; the rest is skipped. A record that it does not accept takes the ordinary path,
which decodes all values exactly. Both paths give the same result, with one exception: a number
that no decoder can represent (an exponent of 18 digits) is sent as received if the mapping does
not read it, while the ordinary path rejects its record.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import msgspec

from singer_martech.mapping.field_checks import (
    FieldCheck,
    kind_check,
    number_check,
    places_check,
    reader,
)
from singer_martech.mapping.metadata_columns import DELETED_AT, MetadataColumns
from singer_martech.mapping.schema_types import (
    ALL,
    ANNOTATIONS,
    NotExpressible,
    TypeBuilder,
    decimal_places,
    kinds_of,
)
from singer_martech.values.dynamic_struct import object_type
from singer_martech.values.json_codec import is_utf8
from singer_martech.values.schema import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from singer_martech.mapping.field_checks import Check

TEXT = frozenset({"string"})

_MIN_MISSES = 1000
_OF_RECORDS = ANNOTATIONS | {
    "additionalProperties",
    "definitions",
    "properties",
    "required",
    "type",
}


class Decoded(NamedTuple):
    """Records on the fast path.

    Attributes:
        values: The values of the fields that are read; None for a record that must take the
            ordinary path.
        records: The records as received, without the columns that are left out.
    """

    values: Sequence[tuple[Any, ...] | None]
    records: Sequence[bytes]


class FastPath:
    """Decodes the records of one stream.

    Attributes:
        reads: The fields whose values are extracted, in this order.
    """

    def __init__(self, reads: Sequence[str], fields: _Fields, omitted: Collection[str]) -> None:
        """Compile the decoder; see ``compile_fast_path``."""
        self.reads = reads
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(fields.struct, float_hook=Decimal)
        self._decode: Callable[[bytes], Any] = decoder.decode
        self._read = reader([fields.attributes[name] for name in reads])
        self._checks = fields.checks
        self._skips = fields.skips
        self._omitted = MetadataColumns(omitted) if omitted else None
        self._is_omitting = False
        self._records = self._misses = 0

    def decode(self, records: Sequence[bytes]) -> Decoded:
        """Decode and validate records as received."""
        self._records += len(records)
        found, kept = self._decoded(records)
        if (self._skips or self._is_omitting) and not _are_utf8(records):
            for index, record in enumerate(records):
                if not is_utf8(record):
                    found[index] = None
        for check in self._checks:
            check(found)
        valid = [each for each in found if each is not None]
        values: list[Any] = self._read(valid)
        if len(valid) < len(found):
            remaining = iter(values)
            values = [None if each is None else next(remaining) for each in found]
            self.miss(len(found) - len(valid))
        return Decoded(values, kept)

    def _decoded(self, records: Sequence[bytes]) -> tuple[list[Any], Sequence[bytes]]:
        """Return a struct for each record, or None, and the records without omitted columns."""
        kept = records
        if self._is_omitting and self._omitted is not None:
            kept = self._omitted.without_all(records)
        found: list[Any] = []
        remaining = iter(kept)
        while True:
            try:
                found.extend(map(self._decode, remaining))  # a loop in C
            except (ArithmeticError, RecursionError, ValueError):
                if self._begin_omitting(records[len(found)]):
                    return self._decoded(records)
                found.append(None)  # for the record whose decoding failed
                if self._omitted is not None:
                    self._omitted.forget()
            else:
                return found, kept

    def _begin_omitting(self, record: bytes) -> bool:
        """Whether to decode again, because these records have omitted columns."""
        if self._is_omitting or self._omitted is None or not self._omitted.are_in(record):
            return False
        self._is_omitting = True
        return True

    def miss(self, count: int = 1) -> None:
        """Count records that take the ordinary path; disable the fast path if most records do."""
        self._misses += count
        if self._misses >= _MIN_MISSES and 2 * self._misses > self._records:
            self._decode = _reject_all


def _reject_all(record: bytes) -> NoReturn:
    raise ValueError(record)


def compile_fast_path(
    schema: Mapping[str, Any],
    reads: Sequence[str],
    kinds: Mapping[str, Collection[str]],
    required: Collection[str] = (),
    omitted: Collection[str] = (),
) -> FastPath | None:
    """Compile the fast path of a stream's records.

    Args:
        schema: Their JSON Schema, without the omitted columns.
        reads: The fields to extract. A record that lacks one takes the ordinary path.
        kinds: The JSON types that a field may have on the fast path; any by default. Numbers of
            such a field are read as doubles, others with all their digits.
        required: Further fields that a record must have.
        omitted: Metadata columns that are left out of the record.

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
    fields = _Fields(schema, needed)
    for name in properties:  # most records have them in this order
        if name == DELETED_AT:  # deleted records take the ordinary path
            allowed = frozenset({"null"})
        elif name in reads and name not in kinds:
            fields.add_exact(name)
            continue
        else:
            allowed = frozenset(kinds.get(name, ALL))
        if not fields.add(name, allowed) and (name in reads or name == DELETED_AT):
            return None
    return FastPath(reads, fields, omitted) if fields.build() else None


class _Fields:
    """The fields of a stream's records.

    Attributes:
        struct: The type of a record; set by ``build``.
        attributes: The attribute of each field.
        checks: The checks of what the types cannot express; complete after ``build``.
    """

    struct: type[msgspec.Struct]

    def __init__(self, schema: Mapping[str, Any], needed: Collection[str]) -> None:
        self.attributes: dict[str, str] = {}
        self.checks: list[Check] = []
        self._schema = schema
        self._needed = needed
        self._types = TypeBuilder()
        self._places: dict[str, int] = {}
        self._fields: list[tuple[str, Any, Any]] = []

    @property
    def skips(self) -> bool:
        """Whether the decoder skips parts of a record."""
        return self._types.skips

    def add(self, name: str, allowed: frozenset[str]) -> bool:
        """Add a field; return whether a type can express it, so that its value is decoded."""
        field = self._schema["properties"][name]
        places = decimal_places(field["multipleOf"]) if "multipleOf" in field else None
        if places is not None:
            field = {key: value for key, value in field.items() if key != "multipleOf"}
        kind = self._type_of(field, allowed)
        if kind is None or (kind is msgspec.Raw and places is not None):
            self._types.skips = True
            attribute = self._add(name, msgspec.Raw)
            self.checks.append(FieldCheck(attribute, name, self._schema).of_json)
            return False
        attribute = self._add(name, kind)
        if places is not None:
            self._places[attribute] = places
        return kind is not msgspec.Raw

    def _type_of(self, field: Mapping[str, Any], allowed: frozenset[str]) -> Any:
        """Return the type of a field, or None if none expresses it."""
        try:
            return self._types.type_of(field, allowed)
        except NotExpressible:
            return None

    def add_exact(self, name: str) -> None:
        """Add a field whose exact value is read."""
        field = self._schema["properties"][name]
        exact = self._types.exact_type_of(field)
        attribute = self._add(name, Any if exact is None else exact)
        if exact is None:
            limits, plain = self._types.number_limits(field), self._types.plain_kinds(field)
            self.checks.append(kind_check(attribute, plain or kinds_of(field)))
            if limits is not None and not plain:
                self.checks.append(number_check(attribute, limits))
            elif not plain:
                self.checks.append(FieldCheck(attribute, name, self._schema).of_values)

    def build(self) -> bool:
        """Build the type; return False if there is none."""
        struct = object_type(self._fields)
        if struct is None:
            return False
        self.struct = struct
        if self._places:
            self.checks.insert(0, places_check(self._places))
        return True

    def _add(self, name: str, kind: Any) -> str:
        attribute = self.attributes[name] = f"field_{len(self._fields)}"
        default = msgspec.NODEFAULT if name in self._needed else None
        self._fields.append((name, kind, default))
        return attribute


def _are_utf8(records: Sequence[bytes]) -> bool:
    return all(map(bytes.isascii, records)) or is_utf8(b"\n".join(records))
