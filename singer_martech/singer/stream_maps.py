"""Apply the SDK's stream maps, with errors that name the setting and the stream."""

from __future__ import annotations

import ast
import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MapExpressionError, StreamMapConfigError
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    PluginMapper,
)
from singer_sdk.singerlib import Catalog

from singer_martech._compat import override
from singer_martech.errors import SettingError
from singer_martech.singer.expression_evaluator import ExpressionEvaluator
from singer_martech.singer.flattening import flattenable
from singer_martech.values.number_limits import check_magnitude
from singer_martech.values.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

_DUPLICATE_NAME = "Duplicate column name"
"""The start of the SDK's message for two properties that flattening would give one name."""
_NAMES = frozenset({MAPPER_ALIAS_OPTION, MAPPER_ELSE_OPTION, MAPPER_SOURCE_OPTION})


class StreamMapper(PluginMapper):
    """Applies the settings ``stream_maps`` and ``flattening_enabled``."""

    @override
    def register_raw_streams_from_catalog(self, catalog: Catalog) -> None:
        selected = [each for each in catalog.streams if each.metadata.resolve_selection()[()]]
        super().register_raw_streams_from_catalog(Catalog((e.tap_stream_id, e) for e in selected))
        for entry in catalog.streams:
            # the SDK fails when it applies stream maps to a deselected stream, which has no columns
            if entry.tap_stream_id not in self.stream_maps:
                self.stream_maps[entry.tap_stream_id] = [
                    self.default_mapper_type(
                        entry.tap_stream_id,
                        entry.schema.to_dict(),
                        entry.key_properties,
                        flattening_options=self.flattening_options,
                    )
                ]

    @override
    def register_raw_stream_schema(
        self, stream_name: str, schema: dict[str, Any], key_properties: Sequence[str] | None
    ) -> None:
        options = self.flattening_options
        if options.enabled and options.max_level > 0:
            schema = flattenable(schema, options.max_level, keys=key_properties or ())
        try:
            super().register_raw_stream_schema(stream_name, schema, key_properties)
        except (MapExpressionError, StreamMapConfigError, ValueError) as error:
            is_name = options.enabled and str(error).startswith(_DUPLICATE_NAME)
            setting = "flattening_separator" if is_name else "stream_maps"
            raise SettingError(f"setting '{setting}': stream '{stream_name}': {error}") from error
        _limit(self.stream_maps[stream_name])


def _limit(stream_maps: Iterable[StreamMap]) -> None:
    """Limit what the expressions of stream maps make of a record."""
    for each in stream_maps:
        if isinstance(each, CustomStreamMap):
            each.expr_evaluator = ExpressionEvaluator(each.functions)


def unmatched_maps(config: Mapping[str, Any], streams: Collection[str], place: str) -> list[str]:
    """Return a line for each stream of the setting ``stream_maps`` that is none of the streams."""
    lines = []
    for name, definition in (config.get("stream_maps") or {}).items():
        source = definition.get(MAPPER_SOURCE_OPTION) if isinstance(definition, dict) else None
        pattern = source or name
        if name == MAPPER_ELSE_OPTION or any(fnmatch.fnmatch(each, pattern) for each in streams):
            continue
        lines.append(
            f"setting 'stream_maps' has stream '{pattern}', which is not in {place}"
            f"{did_you_mean(pattern, streams)}"
        )
    return lines


def check_magnitudes(value: Any) -> None:
    """Check that no number in a record takes expressions long to expand.

    Raises:
        ValueError: A number is too large.
    """
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            check_magnitudes(item)
    else:
        check_magnitude(value)


def expression_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each expression in the setting ``stream_maps`` that cannot be parsed."""
    for stream, definition in (config.get("stream_maps") or {}).items():
        for name, expression in definition.items() if isinstance(definition, dict) else ():
            if not isinstance(expression, str) or name in _NAMES or expression == NULL_STRING:
                continue
            problem = _syntax_problem(expression)
            if problem:
                yield f"setting 'stream_maps.{stream}.{name}' is not a Python expression: {problem}"


def _syntax_problem(expression: str) -> str | None:
    try:
        statements = ast.parse(expression).body
    except SyntaxError as error:
        return error.msg
    except (MemoryError, RecursionError, ValueError) as error:
        return str(error) or "it is nested too deep"
    is_one = len(statements) == 1 and isinstance(statements[0], ast.Expr)
    return None if is_one else "it must be one expression"
