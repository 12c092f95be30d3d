"""Report mappings of the setting ``streams`` that do not fit the streams of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_martech.delivery.sink import MartechSink
    from singer_martech.mapping.stream_mappings import StreamMappings

logger = logging.getLogger(__name__)


class MappingReview:
    """Compares mappings with the streams of the input.

    Args:
        mappings: The setting ``streams``.
        report: Called with a line for each problem, at every SCHEMA that shows it.
    """

    def __init__(self, mappings: StreamMappings, report: Callable[[str], object]) -> None:
        """Report nothing yet."""
        self._mappings = mappings
        self._report = report
        self._reported_keys: set[str] = set()

    def review(self, sink: MartechSink) -> None:
        """Report problems of a stream's mapping; called when its SCHEMA was received."""
        if sink.mapping is None and self._mappings:
            self._review_unmapped(sink.stream_name)
        for problem in sink.unknown_fields():
            self._report(problem)

    def conclude(self) -> None:
        """Report, at the end of the input, the keys that matched no stream."""
        for key, hint in self._mappings.unused_keys().items():
            if key not in self._reported_keys:
                self._report(f"setting 'streams': no stream is named '{key}'{hint}")

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
