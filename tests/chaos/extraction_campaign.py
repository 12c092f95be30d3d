"""Taps under random faults: each STATE is compared with the records written before it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from tests.chaos import conditions
from tests.chaos.fault_plan import REQUEST_TIMEOUT_SECONDS, plan_faults
from tests.chaos.runs import REQUESTS_PER_KILL, Kill, Runs
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping
    from pathlib import Path

    from tests.chaos.extractions import Extraction

_MOST_FAILED_RUNS = 100


class ExtractionCampaign:
    """Runs of one tap, each resumed from the last STATE, until everything is read.

    Args:
        extraction: The tap, its vendor and the data.
        seed: The seed of everything.
        size: The approximate number of requests, if none had to be repeated.
        folder: The folder of its files.
    """

    def __init__(self, extraction: type[Extraction], seed: int, size: int, folder: Path) -> None:
        self._chance = random.Random(f"{extraction.tap} {seed}")
        self._sandbox = Sandbox(seed=seed, vendors=[extraction.vendor_name])
        self._extraction = extraction(self._sandbox, size, self._chance)
        self._kills = max(1, size // REQUESTS_PER_KILL)
        self._runs = Runs(extraction.tap, folder, self._sandbox, self._extraction.vendor, seed)
        self._state: dict[str, Any] | None = None
        streams = self._extraction.rows
        self._written: dict[str, set[Hashable]] = {stream: set() for stream in streams}
        self._in_this_run: dict[str, set[Hashable]] = {}
        self._covered = dict.fromkeys(streams, 0)
        self._began: dict[str, tuple[str, int]] = {}
        self.history: list[str] = []

    def carry_out(self) -> None:
        """Run until a run succeeds, and check everything at the end."""
        with self._sandbox, self._runs:
            while not self._run():
                assert len(self.history) < _MOST_FAILED_RUNS + 2 * self._kills, self.history
                self._extraction.time_passes()
            for stream, rows in self._extraction.rows.items():
                missing = rows.places.keys() - self._written[stream]
                assert not missing, f"{stream}: {list(missing)[:10]} are missing; {self.history}"
                assert self._written[stream] == rows.places.keys()
            assert self._sandbox.errors == []

    def _run(self) -> bool:
        chance, extraction = self._chance, self._extraction
        plan_faults(self._sandbox.faults, extraction.vendor_name, chance, *extraction.random_faults)
        drawn = conditions.draw(chance)
        kill = None
        if self._runs.kills < self._kills:
            kill = Kill.drawn(chance, drawn)
        config = {
            **extraction.settings(),
            "max_attempts": 5,
            "request_timeout_seconds": REQUEST_TIMEOUT_SECONDS,
        }
        self._in_this_run = {stream: set() for stream in extraction.rows}
        self._began = {
            stream: (bookmark, extraction.claimed(stream, bookmark))
            for stream, bookmark in self._bookmarks()
        }
        ended = self._runs.run(config, drawn, on_line=self._line, state=self._state, kill=kill)
        written = sum(map(len, self._written.values()))
        self.history.append(f"{written} {drawn} {kill} -> {ended.status}")
        return ended.status == 0

    def _line(self, line: bytes) -> None:
        message = json.loads(line)
        if message["type"] == "RECORD" and message["stream"] in self._written:
            self._record(message["stream"], message["record"])
        elif message["type"] == "STATE":
            self._state = message["value"]
            for stream, bookmark in self._bookmarks():
                self._cover(stream, self._extraction.claimed(stream, bookmark))

    def _cover(self, stream: str, claimed: int) -> None:
        covered = self._covered[stream]
        assert claimed >= covered, f"the bookmark of {stream} goes back; {self.history}"
        missing = set(self._extraction.rows[stream].keys[covered:claimed]) - self._written[stream]
        assert not missing, f"STATE of {stream} is ahead of {list(missing)[:10]}; {self.history}"
        self._covered[stream] = claimed

    def _record(self, stream: str, record: Mapping[str, Any]) -> None:
        key = self._extraction.key(stream, record)
        assert key not in self._in_this_run[stream], f"{stream} {key} comes twice in one run"
        bookmark, claimed = self._began.get(stream, ("", 0))
        if self._extraction.rows[stream].places[key] < claimed:
            assert self._extraction.may_repeat(stream, key, bookmark), f"{stream} {key} comes again"
        self._in_this_run[stream].add(key)
        self._written[stream].add(key)

    def _bookmarks(self) -> Iterator[tuple[str, str]]:
        for stream, entry in (self._state or {}).get("bookmarks", {}).items():
            if stream in self._covered and "replication_key_value" in entry:
                yield stream, entry["replication_key_value"]

    def __str__(self) -> str:
        """Describe the runs in one line."""
        records = sum(map(len, self._written.values()))
        return f"{len(self.history)} runs, {self._runs}, {records} records"
