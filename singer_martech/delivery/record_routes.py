"""The sinks that load the records of a stream, each with its stream map."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_sdk.mapper import CustomStreamMap, RemoveRecordTransform, SameRecordTransform

from singer_martech.singer.flattening import flattened
from singer_martech.singer.stream_maps import check_magnitudes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from singer_sdk.mapper import StreamMap

    from singer_martech.delivery.record_loader import Transform
    from singer_martech.delivery.sink import MartechSink


class Route(NamedTuple):
    """A sink of a stream.

    Attributes:
        transform: Returns the record that the sink loads, or None to drop it. None if the
        sink loads records as received.
        sink: The sink.
    """

    transform: Transform | None
    sink: MartechSink


def find_routes(
    stream_maps: Sequence[StreamMap], sink_named: Callable[[str], MartechSink]
) -> Iterator[Route]:
    """Yield a route for each stream map of a stream, except those that drop every record."""
    for stream_map in stream_maps:
        if isinstance(stream_map, RemoveRecordTransform):
            continue
        is_plain = (
            isinstance(stream_map, SameRecordTransform)
            and not stream_map.flattening_enabled
            and len(stream_maps) == 1
        )
        transform = None if is_plain else _transform(stream_map)
        yield Route(transform, sink_named(stream_map.stream_alias))


def _transform(stream_map: StreamMap) -> Transform:
    apply = flattened(stream_map)
    # its expressions could expand a number such as 1e999990 for minutes
    computes = isinstance(stream_map, CustomStreamMap)

    def transform(record: dict[str, Any]) -> dict[str, Any] | None:
        if computes:
            check_magnitudes(record)
        result = apply(dict(record))
        if result is None:
            return None
        return {  # received numbers are decimals, and expressions may compute floats
            name: Decimal(repr(value)) if isinstance(value, float) else value
            for name, value in result.items()
        }

    return transform
