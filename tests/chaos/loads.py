"""The records that each target loads, and what its vendor has of them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from tests.sandbox.server import Sandbox
    from tests.sandbox.vendor import Vendor

KEYED, UNKEYED = "customers", "visits"

_SCHEMAS: Sequence[Mapping[str, Any]] = [
    {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"properties": {"id": {"type": "string"}, "n": {"type": "integer"}}},
        "key_properties": keys,
    }
    for stream, keys in ((KEYED, ["id"]), (UNKEYED, []))
]


class Records:
    """Records with the numbers 1 to `count`, of two streams; every STATE is such a number.

    Args:
        count: The number of records.
        chance: The source of randomness.
        keyed: The share of the stream with a key.
    """

    def __init__(self, count: int, chance: random.Random, keyed: float = 0.7) -> None:
        self.count = count
        kinds = [chance.random() < keyed for _ in range(count)]
        #: The stream of each record; the number of a record is its position, starting at 1.
        self.streams = [KEYED if keyed else UNKEYED for keyed in kinds]
        self.ids = [f"k{chance.randrange(1 + count // 5)}" for _ in kinds]
        self._states = {n for n in range(1, count) if chance.random() < 0.2} | {count}

    def numbers(self, stream: str) -> Iterator[int]:
        """Yield the numbers of a stream's records."""
        return (n for n, name in enumerate(self.streams, 1) if name == stream)

    def lines(self, after: int) -> Iterator[bytes]:
        """Yield the messages of a tap that resumes from a STATE."""
        yield from self._schemas()
        for n in range(after + 1, self.count + 1):
            yield self._line(n)
            if n in self._states:
                yield json.dumps({"type": "STATE", "value": {"n": n}}).encode() + b"\n"

    def last_of_each_key(self) -> dict[str, int]:
        """Return the last number of each key."""
        return {self.ids[n - 1]: n for n in self.numbers(KEYED)}

    def lines_of_last(self) -> Iterator[bytes]:
        """Yield the messages of a tap that reads a table with the last record of each key."""
        yield from self._schemas()
        for n in sorted(self.last_of_each_key().values()):
            yield self._line(n)

    def _schemas(self) -> Iterator[bytes]:
        for schema in _SCHEMAS:
            if schema["stream"] in self.streams:
                yield json.dumps(schema).encode() + b"\n"

    def _line(self, n: int) -> bytes:
        record = {"id": self.ids[n - 1], "n": n}
        message = {"type": "RECORD", "stream": self.streams[n - 1], "record": record}
        return json.dumps(message).encode() + b"\n"


class Load(ABC):
    """One target, its vendor, and the accepted records.

    Attributes:
        requests_per_batch: The approximate number of requests per batch.
        rows: The maximum number of records per batch.
    """

    target: ClassVar[str]
    vendor_name: ClassVar[str]
    rows: ClassVar[int] = 10
    requests_per_batch: ClassVar[int] = 1
    random_faults: ClassVar[Sequence[tuple[float, dict[str, Any]]]]

    def __init__(self, sandbox: Sandbox, records: Records) -> None:
        self.sandbox = sandbox
        self.records = records
        self.vendor: Vendor = sandbox.vendors[self.vendor_name]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings in addition to those of all targets."""

    @abstractmethod
    def missing(self, numbers: Sequence[int]) -> set[int]:
        """Return those of the numbers whose records the vendor has not accepted."""

    @abstractmethod
    def value_of_each_key(self) -> dict[str, int]:
        """Return the final number of each key at the vendor."""

    @abstractmethod
    def arrivals(self) -> Iterator[tuple[str, int]]:
        """Yield sender and number of each record that must not arrive twice in one run.

        Each run has its own User-Agent: the last request of a killed run may be accepted after
        the next run has begun.
        """

    def calm_down(self) -> None:  # noqa: B027 - most leave nothing
        """Finish what a run left in progress at the vendor."""

    def overlaps(self) -> list[Any]:
        """Return pairs of concurrent requests with the same key."""
        return []

    def repeats(self) -> list[tuple[str, int]]:
        """Return sender and number of records accepted twice in one run."""
        return [each for each, count in Counter(self.arrivals()).items() if count > 1]

    def senders(self) -> dict[int, str]:
        """Return the sender of each request."""
        return {each.number: each.headers["user-agent"] for each in self.vendor.requests}


class MonaLoad(Load):
    target = "target-mona"
    vendor_name = "mona"
    random_faults = (
        (0.01, {"path": "/mona/export", "expire_token": True}),
        (0.002, {"path": "/mona/export", "status": 401}),
        (0.1, {"path": "/mona-auth", "status": 503, "retry_after": 0.05}),
    )

    def __init__(self, sandbox: Sandbox, records: Records) -> None:
        super().__init__(sandbox, records)
        self._accepted: list[tuple[int, str, int]] = []
        self._read = 0
        self._numbers: set[int] = set()

    def settings(self) -> dict[str, Any]:
        return self.vendor.credentials()

    def missing(self, numbers: Sequence[int]) -> set[int]:
        self._look()
        return set(numbers) - self._numbers

    def value_of_each_key(self) -> dict[str, int]:
        records = self.sandbox.mona.records()
        return {key: record["n"] for (arc, key), record in records.items() if arc == KEYED}

    def arrivals(self) -> Iterator[tuple[str, int]]:
        self._look()
        senders = self.senders()
        return ((senders[request], n) for request, arc, n in self._accepted if arc == UNKEYED)

    def overlaps(self) -> list[Any]:
        # do not wait for silence after the vendor acted
        pairs = self.sandbox.mona.overlaps()
        return [pair for pair in pairs if "stall" not in (pair[1].fault or "")]

    def _look(self) -> None:
        rows = self.vendor.store.rows(
            "SELECT number, request, arc_class, message FROM mona_messages WHERE number > ?",
            self._read,
        )
        for row in rows:
            self._read = max(self._read, row["number"])
            n = json.loads(row["message"])["n"]
            self._accepted.append((row["request"], row["arc_class"], n))
            self._numbers.add(n)


class MonetateLoad(Load):
    target = "target-monetate"
    vendor_name = "monetate"
    random_faults = (
        (0.01, {"path": "/data/v1", "expire_token": True}),
        (0.002, {"path": "/data/v1", "status": 401}),
        (0.1, {"path": "/auth/", "status": 503, "retry_after": 0.05}),
    )

    def __init__(self, sandbox: Sandbox, records: Records) -> None:
        super().__init__(sandbox, records)
        identifier = {"data_type": "STRING", "is_identifier": True}
        key = {**identifier, "is_unique_key": True}
        for name, field in ((KEYED, key), (UNKEYED, identifier)):
            words = {word.removeprefix("is_"): value for word, value in field.items()}
            sandbox.monetate.add_dataset(name, {"id": words, "n": "NUMBER"})
        self._accepted: list[tuple[int, int]] = []
        self._numbers: set[int] = set()
        self._read = 0

    def settings(self) -> dict[str, Any]:
        return {**self.vendor.credentials(), "streams": {UNKEYED: {"allow_append": True}}}

    def missing(self, numbers: Sequence[int]) -> set[int]:
        # a later record of a key replaces the earlier one, in a request and at the vendor
        self._look()
        streams, ids = self.records.streams, self.records.ids
        keyed = [n for n in numbers if streams[n - 1] == KEYED]
        values = self._values({ids[n - 1] for n in keyed})
        superseded = {n for n in keyed if values.get(ids[n - 1], 0) >= n}
        return set(numbers) - superseded - self._numbers

    def value_of_each_key(self) -> dict[str, int]:
        return self._values(set(self.records.ids))

    def _values(self, keys: set[str]) -> dict[str, int]:
        marks = ", ".join("?" * len(keys))
        rows = self.vendor.store.rows(
            f"SELECT row FROM monetate_rows WHERE dataset = ? AND row_key IN ({marks})",  # noqa: S608 - placeholders only
            KEYED,
            *keys,
        )
        return {row["id"]: row["n"] for row in (json.loads(each["row"]) for each in rows)}

    def arrivals(self) -> Iterator[tuple[str, int]]:
        self._look()
        senders = self.senders()
        return ((senders[request], n) for request, n in self._accepted)

    def _look(self) -> None:
        rows = self.vendor.store.rows(
            "SELECT number, request, row FROM monetate_rows WHERE dataset = ? AND number > ?",
            UNKEYED,
            self._read,
        )
        for row in rows:
            self._read = max(self._read, row["number"])
            n = json.loads(row["row"])["n"]
            self._accepted.append((row["request"], n))
            self._numbers.add(n)

    def overlaps(self) -> list[Any]:
        return self.sandbox.monetate.overlapping_keys


class MediarithmicsLoad(Load):
    target = "target-mediarithmics"
    vendor_name = "mediarithmics"
    rows = 40
    requests_per_batch = 5
    random_faults = ((0.001, {"status": 401}),)

    def __init__(self, sandbox: Sandbox, records: Records) -> None:
        super().__init__(sandbox, records)
        self._landed: list[tuple[int, int]] = []
        self._numbers: set[int] = set()
        self._read = 0

    def settings(self) -> dict[str, Any]:
        moment = "{{ 1700000000000 + n }}"
        profile = {
            "operation": "UPSERT",
            "user_account_id": "{{ id }}",
            "user_profile": {"n": "{{ n }}"},
        }
        activity = {
            "$type": "TOUCH",
            "$session_status": "NO_SESSION",
            "$ts": moment,
            "$user_account_id": "{{ id }}",
            "$events": [{"$event_name": "visit", "$ts": moment, "$properties": {"n": "{{ n }}"}}],
        }
        credentials = self.vendor.credentials()
        del credentials["organisation_id"]
        return {
            **credentials,
            "poll_interval_seconds": 0.02,
            "streams": {
                KEYED: {"document_type": "USER_PROFILE", "document": profile},
                UNKEYED: {"document_type": "USER_ACTIVITY", "document": activity},
            },
        }

    def missing(self, numbers: Sequence[int]) -> set[int]:
        self._look()
        return set(numbers) - self._numbers

    def value_of_each_key(self) -> dict[str, int]:
        profiles = self.sandbox.mediarithmics.profiles()
        return {name.rpartition("=")[2]: profile["n"] for name, profile in profiles.items()}

    def arrivals(self) -> Iterator[tuple[str, int]]:
        # an upload is looked up before it is repeated, so nothing arrives twice in one run
        self._look()
        executions = self.sandbox.mediarithmics.import_executions()
        senders = {each.id: each.detail["sender"] for each in executions}
        return ((senders[execution], n) for execution, n in self._landed)

    def calm_down(self) -> None:
        for execution in self.sandbox.mediarithmics.import_executions():
            if execution.is_open:
                self.sandbox.mediarithmics.finish(execution.id)

    def _look(self) -> None:
        rows = self.vendor.store.rows(
            "SELECT number, execution_id, document FROM mediarithmics_documents WHERE number > ?",
            self._read,
        )
        for row in rows:
            self._read = max(self._read, row["number"])
            document = json.loads(row["document"])
            n = (document.get("user_profile") or document["$events"][0]["$properties"])["n"]
            self._landed.append((row["execution_id"], n))
            self._numbers.add(n)


LOADS: Sequence[type[Load]] = (MonaLoad, MonetateLoad, MediarithmicsLoad)
