"""Convert rows to what a dataset accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from singer_martech.errors import MappingError
from target_monetate.coercion import COERCIONS, FITTING_TYPES, as_given, to_key, to_string
from target_monetate.dataset import quoted
from target_monetate.rules import REQUIRED, TYPE_RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_monetate.coercion import Coercion
    from target_monetate.dataset import Dataset, Field

REJECT, LEAVE_OUT, SEND = UNKNOWN_FIELDS = ("reject", "leave_out", "send")
"""The values of the setting ``unknown_fields``."""


class RowCoercion:
    """Converts the rows of one dataset.

    The conversion of each field is chosen once; a value that already fits costs little.

    Args:
        dataset: The dataset.
        unknown_fields: How to handle a field that the dataset does not have.
        warn_unknown: Called with the names of such fields, unless the row is rejected.
    """

    def __init__(
        self,
        dataset: Dataset,
        unknown_fields: str = REJECT,
        warn_unknown: Callable[[list[str]], object] = as_given,
    ) -> None:
        self._dataset = dataset
        self._unknown_fields = unknown_fields
        self._warn_unknown = warn_unknown
        self._required = dataset.required
        fields = dataset.fields.items()
        self._coercions = {name: _coercion(field) for name, field in fields}
        self._text_coercions: dict[str, Callable[[str], Any]] = {
            name: str.strip if coercion in {to_string, to_key} else coercion
            for name, coercion in self._coercions.items()
        }
        self._fitting_types = {
            name: FITTING_TYPES.get(field.data_type, frozenset()) for name, field in fields
        }

    def coerce(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Convert a row.

        Returns:
            The row without its null fields, because an absent field is null for Monetate; the
            row itself if nothing changes.

        Raises:
            MappingError: A value does not fit, a field is unknown, or a required field is null.
        """
        unknown: dict[str, Any] = {}
        try:
            changes = self._changes(row)
        except KeyError:
            row, unknown = self._without_unknown(row)
            changes = self._changes(row)
        if changes or unknown:
            row = {**row, **changes, **unknown}
            if None in changes.values():
                row = {name: value for name, value in row.items() if value is not None}
        for name in self._required:
            if name not in row:
                self._raise_required(name)
        return row

    def _changes(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that change, by field. It runs for every value.

        Raises:
            KeyError: A field is unknown.
            MappingError: A value does not fit.
        """
        text_coercions, fitting_types = self._text_coercions, self._fitting_types
        changes: dict[str, Any] = {}
        name = ""
        try:
            for name, value in row.items():
                kind = type(value)
                if kind is str:
                    coerced = text_coercions[name](value)
                    if coerced is value and coerced:
                        continue
                elif value is None:
                    coerced = None
                elif kind in fitting_types[name]:
                    continue
                else:
                    coerced = self._coercions[name](value)
                changes[name] = None if coerced == "" else coerced
        except (ValueError, ArithmeticError, MappingError) as error:
            raise self._mapping_error(name, error) from None
        return changes

    def _mapping_error(self, name: str, error: Exception) -> MappingError:
        data_type = self._dataset.fields[name].data_type
        problem = f"field '{name}' ({data_type}): {error}"
        rule = TYPE_RULES.get(data_type)
        return MappingError(problem) if rule is None else rule.broken_by(problem)

    def _without_unknown(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the known fields of a row, and the unknown fields to send beside them."""
        known = {name: value for name, value in row.items() if name in self._coercions}
        unknown = {
            name: value
            for name, value in row.items()
            if name not in self._coercions and value is not None and value != ""
        }
        if unknown and self._unknown_fields == REJECT:
            raise MappingError(
                f"the dataset '{self._dataset.name}' has no field {quoted(unknown)}; set "
                f"'unknown_fields' to {LEAVE_OUT} or {SEND}, choose fields with a mapping 'row', "
                "or add them with the setting 'add_missing_fields'"
            )
        if unknown:
            self._warn_unknown(list(unknown))
        return known, unknown if self._unknown_fields == SEND else {}

    def _raise_required(self, name: str) -> NoReturn:
        role = " and ".join(self._dataset.fields[name].roles)
        raise REQUIRED.broken_by(f"field '{name}' ({role}) is empty or missing")


def _coercion(field: Field) -> Coercion:
    if field.identifier or field.unique_key:
        return to_key
    return COERCIONS.get(field.data_type, as_given)
