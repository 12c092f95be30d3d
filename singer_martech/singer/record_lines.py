"""Find the records in consecutive lines of one stream, without decoding the messages.

Taps write the members of RECORD messages in the same order: type, stream, record, and then
version and time. So the bytes before and after the record identify the message. A line in another
form is decoded as a message.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_START = re.compile(
    rb'\{[ \t]*"type"[ \t]*:[ \t]*"RECORD"[ \t]*,[ \t]*"stream"[ \t]*:[ \t]*"([ !#-\[\]-~]+)"'
    rb'[ \t]*,[ \t]*"record"[ \t]*:[ \t]*'
)
_END = re.compile(
    rb'\}(?:[ \t]*,[ \t]*(?:"version"[ \t]*:[ \t]*(?:null|0|[1-9][0-9]{0,17})'
    rb'|"time_extracted"[ \t]*:[ \t]*(?:null|"[ !#-\[\]-~]*"))){0,2}[ \t]*\}[ \t\r]*'
)


class RecordLines:
    """Finds the records of lines, and remembers the stream of the last one.

    Attributes:
        stream: The stream of the lines that ``is_record`` looked at last.
        are_alike: Whether further lines are probably like the last one, except for their records.
    """

    def __init__(self) -> None:
        self.stream = ""
        self.are_alike = False
        self._start = b"\n"
        self._end = b"}}"

    def is_record(self, line: bytes) -> bool:
        """Whether a line has the start of a RECORD message in the usual form."""
        if line.startswith(self._start):
            return True
        start = _START.match(line)
        if start is None:
            return False
        self._start, self.stream = start.group(), start.group(1).decode()
        return True

    def records(self, lines: Sequence[bytes], index: int) -> list[bytes]:
        """Return the records of the lines of this stream from an index on, as received.

        A record may not be a JSON object; then its line may not be a RECORD message.
        """
        start, end = self._start, self._end
        first, last = len(start), 1 - len(end)
        records: list[bytes] = []
        for line in islice(lines, index, None):
            if not line.startswith(start):
                break
            if line.endswith(end):
                records.append(line[first:last])
                continue
            close = line.rfind(b"}", first, line.rfind(b"}"))
            if close < 0 or not _END.fullmatch(line, close):
                break
            records.append(line[first : close + 1])
            end = self._end = line[close:]
            last = 1 - len(end)
        return records

    def split(self, block: bytes) -> list[bytes] | None:
        """Return the records of a block if all its lines are like the last one; else None.

        One copy of each record takes less time than one of each line and one of its record.
        """
        start, end = self._start, self._end[1:]
        if not (self.are_alike and block.startswith(start) and block.endswith(end)):
            return None
        records = block.split(b"%b\n%b" % (end, start))
        records[0] = records[0][len(start) :]
        records[-1] = records[-1][: -len(end)]
        others = [record for record in records if b"\n" in record or record[-1:] != b"}"]
        return None if others else records

    def line_of(self, records: Sequence[bytes], index: int) -> bytes:
        """Return the line of one of the records that ``split`` returned last."""
        return self._start + records[index] + self._end[1:]
