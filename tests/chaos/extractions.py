"""Taps under random faults: each STATE is compared with the records written before it."""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from tests.chaos.fault_plan import BODIES, REQUEST_TIMEOUT_SECONDS, plan_faults
from tests.chaos.runs import Kill, Plugin, most_kills
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.sandbox.vendor import Vendor

    Keys = set[tuple[str, Hashable]]

_MOST_RUNS = 100
_THINGS, _USERS = "things", "users"


class Extraction(ABC):
    """One tap, its vendor, and the data to read. A key is a stream and a record's identifier.

    Args:
        sandbox: The sandbox of the vendor, which gets the data.
        size: The approximate number of requests to read everything.
        chance: The random generator of the data.
    """

    tap: ClassVar[str]
    vendor_name: ClassVar[str]
    #: The streams to compare.
    streams: ClassVar[Sequence[str]]
    random_faults: ClassVar[Sequence[tuple[float, dict[str, Any]]]]

    def __init__(self, sandbox: Sandbox, size: int, chance: random.Random) -> None:
        self.sandbox = sandbox
        self.vendor: Vendor = sandbox.vendors[self.vendor_name]
        self.chance = chance
        self.size = size

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings."""

    @abstractmethod
    def expected(self) -> Keys:
        """Return the keys of all data."""

    @abstractmethod
    def key(self, stream: str, record: Mapping[str, Any]) -> Hashable:
        """Return the identifier of a record."""

    @abstractmethod
    def claimed(self, stream: str, bookmark: str) -> Keys:
        """Return the keys that are written according to a bookmark."""

    def may_repeat(self, stream: str, key: Hashable, bookmark: str) -> bool:
        """Whether a run that began at a bookmark may write a record that the bookmark covers."""
        del stream, key, bookmark
        return False

    def time_passes(self) -> None:  # noqa: B027 - where nothing new happens, nothing is to do
        """Add data at the vendor between two runs."""


class RobotmiaExtraction(Extraction):
    tap = "tap-robotmia"
    vendor_name = "robotmia"
    streams = ("events", "event_order")
    random_faults = (
        *BODIES,
        (0.03, {"terminated_early": True}),
        (0.002, {"status": 401}),
        (0.01, {"status": 429, "body": {"error": "61/60 queries in the last hour"}}),
    )
    _LOOKBACK_DAYS = 2
    _EVENTS_PER_DAY = 7
    _ZONE = ZoneInfo("America/Los_Angeles")
    _START = datetime(2005, 1, 1, tzinfo=timezone.utc)  # so that no run reaches the future

    def __init__(self, sandbox: Sandbox, size: int, chance: random.Random) -> None:
        super().__init__(sandbox, size, chance)
        self._days = max(10, size * 2 // 3)
        # an event's time is the project's local time, read as if it were UTC
        self._moments = sorted(
            self._START + timedelta(days=self._days * chance.random())
            for _ in range(self._days * self._EVENTS_PER_DAY)
        )
        sandbox.robotmia.set_events(
            {
                "event": chance.choice(["Login", "Order"]),
                "properties": {"time": int(at.timestamp()), "$insert_id": f"i{n}", "n": n},
            }
            for n, at in enumerate(self._moments)
        )

    def settings(self) -> dict[str, Any]:
        return {
            **self.vendor.credentials(),
            "start_date": self._START.date().isoformat(),
            "end_date": (self._START + timedelta(days=self._days - 1)).date().isoformat(),
            "lookback_days": self._LOOKBACK_DAYS,
            "event_streams": ["Order"],
            "parallel_downloads": self.chance.choice([1, 2, 4]),
        }

    def expected(self) -> Keys:
        orders = {
            json.loads(event.line)["properties"]["n"]
            for event in self.sandbox.robotmia.events(
                self._START.date(), (self._START + timedelta(days=self._days)).date()
            )
            if event.name == "Order"
        }
        everything = {("events", n) for n in range(len(self._moments))}
        return everything | {("event_order", n) for n in orders}

    def key(self, stream: str, record: Mapping[str, Any]) -> Hashable:
        del stream
        return int(record["insert_id"].removeprefix("i"))

    def claimed(self, stream: str, bookmark: str) -> Keys:
        end = self._wall_clock(bookmark)
        early: Keys = {(stream, n) for n, moment in enumerate(self._moments) if moment < end}
        return early & self.expected()

    def may_repeat(self, stream: str, key: Hashable, bookmark: str) -> bool:
        del stream
        assert isinstance(key, int)
        day = self._wall_clock(bookmark).date() - timedelta(days=self._LOOKBACK_DAYS)
        return self._moments[key].date() >= day

    def _wall_clock(self, bookmark: str) -> datetime:
        local = datetime.fromisoformat(bookmark.replace("Z", "+00:00")).astimezone(self._ZONE)
        return local.replace(tzinfo=timezone.utc)


class MediarithmicsExtraction(Extraction):
    tap = "tap-mediarithmics"
    vendor_name = "mediarithmics"
    streams = (_THINGS, _USERS)
    random_faults = (
        *((odds, {"path": "/files/", **fault}) for odds, fault in BODIES),
        *((odds, {"path": "/data_file/", **fault}) for odds, fault in BODIES),
        (0.001, {"status": 401}),
    )
    _BEGIN_MS = 1_700_000_000_000

    def __init__(self, sandbox: Sandbox, size: int, chance: random.Random) -> None:
        super().__init__(sandbox, size, chance)
        vendor = sandbox.mediarithmics
        self._export = vendor.add_export("Things", "SELECT { id } FROM UserPoint")
        self._lines: dict[tuple[str, int], int] = {}
        for number in range(max(5, size // 2)):
            self._add_execution(number)
        self._users = 50
        self.time_passes()

    def _add_execution(self, number: int) -> None:
        created = self._BEGIN_MS + number * 3_600_000
        sizes = [self.chance.randrange(30) for _ in range(self.chance.choice([1, 1, 3]))]
        execution = self.sandbox.mediarithmics.add_execution(
            self._export,
            created=created,
            files=[b"".join(b'{"id":"%d"}\n' % n for n in range(size)) for size in sizes],
        )
        for line in range(1, 1 + sum(sizes)):
            self._lines[execution, line] = created

    def time_passes(self) -> None:
        self._users += 10
        self.sandbox.mediarithmics.set_objects(
            "UserPoint",
            [{"id": f"u{n}", "creation_ts": self._BEGIN_MS + n} for n in range(self._users)],
        )

    def settings(self) -> dict[str, Any]:
        query = "SELECT { id creation_ts } FROM UserPoint WHERE creation_ts >= {start}"
        return {
            **self.vendor.credentials(),
            "poll_interval_seconds": 0.02,
            "start_date": "2020-01-01",
            "exports": [
                {
                    "stream": _USERS,
                    "query": query,
                    "replication_key": "creation_ts",
                    "primary_keys": ["id"],
                },
                {"stream": _THINGS, "export_id": self._export, "mode": "all"},
            ],
        }

    def expected(self) -> Keys:
        users = {(_USERS, n) for n in range(self._users)}
        return users | {(_THINGS, line) for line in self._lines}

    def key(self, stream: str, record: Mapping[str, Any]) -> Hashable:
        if stream == _USERS:
            return int(record["id"].removeprefix("u"))
        return record["_execution_id"], record["_line"]

    def claimed(self, stream: str, bookmark: str) -> Keys:
        moment = datetime.fromisoformat(bookmark.replace("Z", "+00:00"))
        end = round(moment.timestamp() * 1000)
        if stream == _USERS:
            return {(stream, n) for n in range(1 + end - self._BEGIN_MS)}
        return {(stream, line) for line, created in self._lines.items() if created <= end}

    def may_repeat(self, stream: str, key: Hashable, bookmark: str) -> bool:
        # a query includes rows with the bookmark's own value
        if stream != _USERS:
            return False
        (last,) = {max(n for _, n in self.claimed(stream, bookmark))}  # type: ignore[type-var]
        return key == last


EXTRACTIONS: Sequence[type[Extraction]] = (RobotmiaExtraction, MediarithmicsExtraction)


class Campaign:
    """Runs of one tap, each resumed from the last STATE, until everything is read."""

    def __init__(self, extraction: type[Extraction], seed: int, size: int, folder: Path) -> None:
        self._chance = random.Random(f"{extraction.tap} {seed}")
        self._sandbox = Sandbox(seed=seed, vendors=[extraction.vendor_name])
        self._extraction = extraction(self._sandbox, size, self._chance)
        self._size = size
        self._folder = folder
        self._state: dict[str, Any] | None = None
        self._written: Keys = set()
        self._in_this_run: Keys = set()
        self._began: Mapping[str, str] = {}
        self.history: list[str] = []

    def carry_out(self) -> None:
        """Run until a run succeeds, and check everything at the end."""
        with self._sandbox:
            while not self._run():
                assert len(self.history) < _MOST_RUNS, self.history
                self._extraction.time_passes()
            missing = self._extraction.expected() - self._written
            assert not missing, f"{len(missing)} are missing: {list(missing)[:10]}; {self.history}"
            assert self._written == self._extraction.expected()
            assert self._sandbox.errors == []

    def _run(self) -> bool:
        chance, extraction = self._chance, self._extraction
        plan_faults(self._sandbox.faults, extraction.vendor_name, chance, *extraction.random_faults)
        kill = None
        if len(self.history) < most_kills(self._size):
            kill = Kill.drawn(chance, self._size // 3)
        folder = self._folder / f"run {len(self.history)}"
        folder.mkdir()
        config = {
            **extraction.settings(),
            "max_attempts": 5,
            "request_timeout_seconds": REQUEST_TIMEOUT_SECONDS,
        }
        plugin = Plugin(extraction.tap, config, folder, self._sandbox, extraction.vendor)
        arguments = []
        if self._state is not None:
            (folder / "state.json").write_text(json.dumps(self._state))
            arguments = ["--state", "state.json"]
        self._in_this_run = set()
        self._began = dict(self._bookmarks())
        ended = plugin.run(*arguments, on_line=self._line, kill=kill)
        self.history.append(f"{len(self._written)} {kill} -> {ended.status}")
        return ended.status == 0

    def _line(self, line: bytes) -> None:
        message = json.loads(line)
        if message["type"] == "RECORD" and message["stream"] in self._extraction.streams:
            self._record(message["stream"], message["record"])
        elif message["type"] == "STATE":
            self._state = message["value"]
            for stream, bookmark in self._bookmarks():
                missing = self._extraction.claimed(stream, bookmark) - self._written
                assert not missing, f"STATE is ahead of {list(missing)[:10]}; {self.history}"

    def _record(self, stream: str, record: Mapping[str, Any]) -> None:
        key = (stream, self._extraction.key(stream, record))
        assert key not in self._in_this_run, f"{key} comes twice in one run"
        bookmark = self._began.get(stream)
        if bookmark is not None and key in self._extraction.claimed(stream, bookmark):
            assert self._extraction.may_repeat(*key, bookmark), f"{key} comes again"
        self._in_this_run.add(key)
        self._written.add(key)

    def _bookmarks(self) -> Iterable[tuple[str, str]]:
        for stream, entry in (self._state or {}).get("bookmarks", {}).items():
            if stream in self._extraction.streams and "replication_key_value" in entry:
                yield stream, entry["replication_key_value"]

    def __str__(self) -> str:
        """Describe the runs, for a failed assertion."""
        requests = self._extraction.vendor.requests
        faults = sum(request.fault is not None for request in requests)
        return (
            f"{len(self.history)} runs, {len(requests)} requests, {faults} of them with a fault, "
            f"{len(self._written)} records: " + "; ".join(self.history)
        )
