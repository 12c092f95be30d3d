"""Load the records of BATCH files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_martech.singer.batch_files import batch_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_sdk.helpers._batch import StorageTarget

    from singer_martech.delivery.checkpoint import Checkpoints
    from singer_martech.singer.reader import MessageReader


class BatchInput:
    """Loads the files of BATCH messages, and has them removed."""

    def __init__(
        self, reader: MessageReader, load_message: Callable[[dict[str, Any]], None]
    ) -> None:
        self._reader = reader
        self._load_message = load_message
        self._unconfirmed: list[Callable[[], None]] = []

    def load(self, message: Mapping[str, Any], storage: StorageTarget | None) -> Iterator[None]:
        """Load the files of a BATCH message; yield after each block of records.

        Raises:
            MartechError: The run cannot continue.
        """
        number = 1
        for file in batch_files(message, storage):
            self._unconfirmed.append(file.remove)
            for lines in file.blocks():
                self._load_lines(message, lines, number)
                number += len(lines)
                yield

    def confirm(self, checkpoints: Checkpoints, sequence: int) -> None:
        """Have the files so far removed once a STATE covers the records up to a sequence."""
        for remove in self._unconfirmed:
            checkpoints.when_settled(sequence, remove)
        self._unconfirmed.clear()

    def _load_lines(self, batch: Mapping[str, Any], lines: Sequence[bytes], number: int) -> None:
        """Load lines of a file, given the number of the first one, for errors."""
        stream = batch["stream"]
        records = [line.strip() for line in lines]
        numbers: Sequence[int] = range(number, number + len(records))
        if not all(records):  # there are blank lines
            numbers = [n for n, record in zip(numbers, records, strict=True) if record]
            records = [record for record in records if record]

        def load_message(index: int) -> None:
            message = self._reader.record_message(stream, records[index], numbers[index])
            self._load_message({**message, "version": batch.get("version")})

        handler = self._reader.fast_handlers.get(stream)
        if handler is not None:
            handler(records, load_message)
            return
        for index in range(len(records)):
            load_message(index)
