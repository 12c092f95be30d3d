"""The data that each tap reads, and what a bookmark says about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from tests.chaos.fault_plan import BODIES

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Mapping, Sequence

    from tests.sandbox.server import Sandbox
    from tests.sandbox.vendor import Vendor

_THINGS, _USERS = "things", "users"


class Rows:
    """The identifiers of a stream's records in the order of its replication key."""

    def __init__(self) -> None:
        self.keys: list[Hashable] = []
        self.values: list[Any] = []
        self.places: dict[Hashable, int] = {}

    def add(self, key: Hashable, value: Any) -> None:
        """Add a record with a value of the replication key that is not below the last."""
        self.places[key] = len(self.keys)
        self.keys.append(key)
        self.values.append(value)


class Extraction(ABC):
    """One tap, its vendor, and the data to read.

    Args:
        sandbox: The sandbox of the vendor, which gets the data.
        size: The approximate number of requests to read everything.
        chance: The random generator of the data.

    Attributes:
        rows: The records of each stream to compare.
    """

    tap: ClassVar[str]
    vendor_name: ClassVar[str]
    random_faults: ClassVar[Sequence[tuple[float, dict[str, Any]]]]

    def __init__(self, sandbox: Sandbox, size: int, chance: random.Random) -> None:
        self.sandbox = sandbox
        self.vendor: Vendor = sandbox.vendors[self.vendor_name]
        self.chance = chance
        self.size = size
        self.rows: dict[str, Rows] = {}

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings."""

    @abstractmethod
    def key(self, stream: str, record: Mapping[str, Any]) -> Hashable:
        """Return the identifier of a record."""

    @abstractmethod
    def claimed(self, stream: str, bookmark: str) -> int:
        """Return how many of a stream's rows are written according to a bookmark."""

    @abstractmethod
    def may_repeat(self, stream: str, key: Hashable, bookmark: str) -> bool:
        """Whether a run that began at a bookmark may write a record that the bookmark covers."""

    def time_passes(self) -> None:  # noqa: B027 - where nothing new happens, nothing is to do
        """Add data at the vendor between two runs."""


class RobotmiaExtraction(Extraction):
    tap = "tap-robotmia"
    vendor_name = "robotmia"
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
        times = sorted(
            self._START + timedelta(days=self._days * chance.random())
            for _ in range(self._days * self._EVENTS_PER_DAY)
        )
        names = [chance.choice(["Login", "Order"]) for _ in times]
        sandbox.robotmia.set_events(
            {
                "event": name,
                "properties": {"time": int(at.timestamp()), "$insert_id": f"i{n}", "n": n},
            }
            for n, (name, at) in enumerate(zip(names, times, strict=True))
        )
        self.rows = {"events": Rows(), "event_order": Rows()}
        for n, (name, at) in enumerate(zip(names, times, strict=True)):
            self.rows["events"].add(n, at)
            if name == "Order":
                self.rows["event_order"].add(n, at)

    def settings(self) -> dict[str, Any]:
        return {
            **self.vendor.credentials(),
            "start_date": self._START.date().isoformat(),
            "end_date": (self._START + timedelta(days=self._days - 1)).date().isoformat(),
            "lookback_days": self._LOOKBACK_DAYS,
            "event_streams": ["Order"],
            "parallel_downloads": self.chance.choice([1, 2, 4]),
        }

    def key(self, stream: str, record: Mapping[str, Any]) -> Hashable:
        del stream
        return int(record["insert_id"].removeprefix("i"))

    def claimed(self, stream: str, bookmark: str) -> int:
        return bisect_left(self.rows[stream].values, self._wall_clock(bookmark))

    def may_repeat(self, stream: str, key: Hashable, bookmark: str) -> bool:
        rows = self.rows[stream]
        day = self._wall_clock(bookmark).date() - timedelta(days=self._LOOKBACK_DAYS)
        at: datetime = rows.values[rows.places[key]]
        return at.date() >= day

    def _wall_clock(self, bookmark: str) -> datetime:
        local = datetime.fromisoformat(bookmark.replace("Z", "+00:00")).astimezone(self._ZONE)
        return local.replace(tzinfo=timezone.utc)


class MediarithmicsExtraction(Extraction):
    tap = "tap-mediarithmics"
    vendor_name = "mediarithmics"
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
        self.rows = {_THINGS: Rows(), _USERS: Rows()}
        for number in range(max(5, size // 2)):
            self._add_execution(number)
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
            self.rows[_THINGS].add((execution, line), created)

    def time_passes(self) -> None:
        users = self.rows[_USERS]
        for n in range(len(users.values), len(users.values) + 10):
            users.add(n, self._BEGIN_MS + n)
        self.sandbox.mediarithmics.set_objects(
            "UserPoint",
            [{"id": f"u{n}", "creation_ts": value} for n, value in enumerate(users.values)],
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

    def key(self, stream: str, record: Mapping[str, Any]) -> Hashable:
        if stream == _USERS:
            return int(record["id"].removeprefix("u"))
        return record["_execution_id"], record["_line"]

    def claimed(self, stream: str, bookmark: str) -> int:
        return bisect_right(self.rows[stream].values, self._milliseconds(bookmark))

    def may_repeat(self, stream: str, key: Hashable, bookmark: str) -> bool:
        # a query includes rows with the bookmark's own value
        rows = self.rows[stream]
        return stream == _USERS and rows.values[rows.places[key]] == self._milliseconds(bookmark)

    @staticmethod
    def _milliseconds(bookmark: str) -> int:
        return round(datetime.fromisoformat(bookmark.replace("Z", "+00:00")).timestamp() * 1000)


EXTRACTIONS: Sequence[type[Extraction]] = (RobotmiaExtraction, MediarithmicsExtraction)
