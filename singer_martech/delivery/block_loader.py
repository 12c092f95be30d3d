"""Load consecutive records of a stream on the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.delivery.record_loader import ENDS_RUN
from singer_martech.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from singer_martech.delivery.batch import PendingRecord
    from singer_martech.delivery.sink import MartechSink
    from singer_martech.mapping.fast_path import FastPath


class BlockLoader:
    """Loads records of one stream as received."""

    def __init__(self, sink: MartechSink, fast_path: FastPath) -> None:
        self._sink = sink
        self._fast_path = fast_path

    @classmethod
    def of(cls, sink: MartechSink) -> Self | None:
        """Return the loader of a sink, or None if it has no fast path."""
        if sink.include_sdc_metadata_properties:
            return None
        if sink.mirror is not None:  # only a decoded message has a version
            return None
        fast_path = sink.fast_path()
        if fast_path is None or not sink.accepts_names(tuple(sink.schema["properties"])):
            return None
        return cls(sink, fast_path)

    def load(self, records: Sequence[bytes], load_message: Callable[[int], None]) -> None:
        """Load records in order.

        Args:
            records: The records as received.
            load_message: Called with the index of a record that needs a ``RecordLoader``.

        Raises:
            MartechError: The run cannot continue.
        """
        values, kept = self._fast_path.decode(records)
        mapped: Sequence[Any] | None = self._sink.map_block(values, kept)
        if mapped is None:
            mapped = [
                None if each is None else self._mapped(each, record)
                for each, record in zip(values, kept, strict=True)
            ]
        start = 0
        for index, record in enumerate(mapped):
            if record is None:
                self._submit(mapped[start:index], records[start:index])
                start = index + 1
                load_message(index)
        self._submit(mapped[start:], records[start:])

    def _mapped(self, values: tuple[Any, ...], raw_json: bytes) -> PendingRecord | None:
        """Return what to send for a record, or None if it needs a ``RecordLoader``."""
        try:
            record = self._sink.map_values(values, raw_json)
        except MappingError:
            return None  # the RecordLoader reports the reason
        except ENDS_RUN:
            raise
        except Exception:  # noqa: BLE001 - likewise
            return None
        if record is None:
            self._fast_path.miss()
        return record

    def _submit(self, records: Sequence[PendingRecord], raws: Sequence[bytes]) -> None:
        """Submit records, given as received as well."""
        if not records:
            return
        sink = self._sink
        metrics, first = sink.metrics, sink.target.sequence + 1
        for sequence, (record, raw) in enumerate(zip(records, raws, strict=True), first):
            record.metrics, record.sequence, record.raw = metrics, sequence, raw
        sink.target.sequence += len(records)
        metrics.read += len(records)
        sink.submit_all(sink.destination, records)
