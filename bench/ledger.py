"""What a ledger of many keys costs: a changed and an unchanged stream beside one without it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from bench.measure import Comparison, Subject, config_file, run
from singer_martech.delivery.ledger_blocks import BLOCK_ENTRIES, ENTRY
from singer_martech.delivery.ledger_settings import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

KEYS = 10_000_000
_KEY_BITS = 128
_ACCEPTED_AT = 1_770_000_000


class LedgerLoads:
    """Builds a ledger, and the commands that load a stream with it.

    Args:
        folder: The folder for the ledger and configurations.
    """

    def __init__(self, folder: Path) -> None:
        """Create a builder; nothing is written yet."""
        self._folder = folder
        self._ledger = folder / "ledger.db"

    def comparison(self, subject: Subject, config: Mapping[str, Any]) -> Comparison:
        """Compare a load without a ledger with loads of changed and unchanged records."""
        other = self._folder / f"changed-{subject.stdin.name}" if subject.stdin else None
        path = config_file(self._folder, {**config, "ledger": str(self._ledger)})
        command = [subject.command[0], "--config", path]

        def with_ledger(name: str, source: Path | None) -> Subject:
            return Subject(name, command, subject.units, source)

        last = with_ledger("every record has changed back", subject.stdin)

        def prepare() -> None:
            if subject.stdin and other and not other.exists():
                _change(subject.stdin, other)
            fill(self._ledger)
            run(last, self._folder / "last-command.log")

        subjects = [
            with_ledger("every record has changed", other),
            last,
            with_ledger("no record has changed", subject.stdin),
            Subject("without a ledger", subject.command, subject.units, subject.stdin),
        ]
        title = f"{subject.name} with a ledger of {KEYS:,} keys"
        return Comparison(title, "records", subjects, prepare)


def _change(source: Path, other: Path) -> None:
    # line by line: the memory of this process would count for the peak of its children
    with source.open("rb") as lines, other.open("wb") as changed:
        changed.writelines(line.replace(b'":"value ', b'":"other ') for line in lines)


def fill(path: Path) -> None:
    """Create a ledger with keys of another destination, unless it exists."""
    if path.exists():
        return
    unfinished = path.with_suffix(".part")
    open_store(str(unfinished)).close()
    connection = sqlite3.connect(unfinished, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO ledger_blocks VALUES (?, 0, ?)", _blocks())
    connection.executemany(
        "INSERT INTO ledger_entries VALUES (?, ?)",
        ((_key(number), number // BLOCK_ENTRIES + 1) for number in range(KEYS)),
    )
    connection.execute("UPDATE ledger_format SET last_block = ?", [KEYS // BLOCK_ENTRIES])
    connection.execute("COMMIT")
    connection.close()
    unfinished.rename(path)


def _blocks() -> Iterator[tuple[int, bytes]]:
    for block in range(KEYS // BLOCK_ENTRIES):
        keys = [_key(block * BLOCK_ENTRIES + number) for number in range(BLOCK_ENTRIES)]
        yield block + 1, b"".join([ENTRY.pack(key, key, _ACCEPTED_AT) for key in keys])


def _key(number: int) -> bytes:
    """Return keys in their own order: to add them is much faster than in any other."""
    return (number * ((1 << _KEY_BITS) // KEYS)).to_bytes(16, "big")
