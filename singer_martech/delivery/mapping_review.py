"""Report mappings of the setting ``streams`` that do not fit the streams of a run."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from singer_martech.mapping.nested_fields import unknown_nested_fields
from singer_martech.mapping.stream_mappings import compiled, mapping_error
from singer_martech.mapping.template import unknown_fields
from singer_martech.singer.stream_maps import unmatched_maps
from singer_martech.values.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from singer_martech.delivery.sink import MartechSink
    from singer_martech.mapping.stream_mappings import StreamMappings
    from singer_martech.mapping.template import Template

logger = logging.getLogger(__name__)

_FIELD_IN_BRACES = re.compile(r"\{\s*(\w+)\s*\}")
_NAME = re.compile(r"(\w+)")


class MappingReview:
    """Compares mappings with the streams of the input.

    ``report`` is called with a line for each problem, at every SCHEMA that shows it.
    """

    def __init__(
        self,
        mappings: StreamMappings,
        config: Mapping[str, Any],
        report: Callable[[str], object],
    ) -> None:
        self._mappings = mappings
        self._config = config
        self._report = report
        self._reported_keys: set[str] = set()
        self._sources: set[str] = set()

    def review(self, sink: MartechSink, source: str) -> None:
        """Report problems of a stream's mapping; called when its SCHEMA was received."""
        self._sources.add(source)
        if sink.mapping is None and self._mappings:
            self._review_unmapped(sink.stream_name)
        for key, template in _templates(sink):
            for problem in _unknown_fields(sink, template):
                self._report(str(mapping_error(sink.stream_name, key, problem)))
        for key, value in (sink.mapping or {}).items():
            if isinstance(value, (dict, list)) and key not in sink.field_keys:
                self._review_constants(sink, key, value)

    def conclude(self) -> None:
        """Report, at the end of the input, the keys and stream maps that matched no stream."""
        if not self._sources:  # the tap has failed, or nothing is selected
            return
        for key, hint in self._mappings.unused_keys().items():
            if key not in self._reported_keys:
                self._report(f"setting 'streams': no stream of this run matches '{key}'{hint}")
        for problem in unmatched_maps(self._config, self._sources, "the input"):
            self._report(problem)

    def _review_constants(self, sink: MartechSink, key: str, value: Any) -> None:
        """Report text that is sent as it is, although a field was probably meant."""
        for path, text in _texts(value):
            match = _FIELD_IN_BRACES.search(text) or _NAME.fullmatch(text)
            if match is not None and "{{" not in text and match[1] in sink.schema["properties"]:
                problem = (
                    f"{path}: '{text}' is sent as text; write '{{{{ {match[1]} }}}}' for the value "
                    f"of the field, or '{{{{ \"{text}\" }}}}' for this text"
                )
                self._report(str(mapping_error(sink.stream_name, key, problem)))

    def _review_unmapped(self, stream: str) -> None:
        key = self._mappings.misspelt_key(stream)
        if key is None:
            logger.info("stream '%s': no key of setting 'streams' matches it", stream)
            return
        self._reported_keys.add(key)
        self._report(
            f"setting 'streams': no key matches stream '{stream}', and key '{key}' has matched no "
            f"stream so far; did you mean '{stream}'?"
        )


def _templates(sink: MartechSink) -> Iterator[tuple[str, Template]]:
    """Yield the key and the template of each template in a sink's mapping."""
    for key, value in (sink.mapping or {}).items():
        names = value if isinstance(value, list) else [value]
        is_named = all(isinstance(name, str) and "{{" not in name for name in names)
        if key in sink.field_keys and is_named:
            reads = [f"{{{{ record[{encode(name).decode()}] }}}}" for name in names]
            yield key, compiled(reads, sink.stream_name, key)
        else:
            yield key, compiled(value, sink.stream_name, key)


def _unknown_fields(sink: MartechSink, template: Template) -> Iterator[str]:
    """Yield a problem for each field that a template reads and the SCHEMA or record lacks."""
    for field, hint in unknown_fields(template, sink.schema):
        if field not in sink.left_out:
            yield f"no field '{field}' in the SCHEMA{hint}"
    for field in sorted(template.named.intersection(sink.left_out)):
        yield f"field '{field}' is left out; set 'keep_sdc_columns' to true to read it"
    yield from unknown_nested_fields(template.parsed, sink.schema)


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text in an object or a list, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{index}]")
