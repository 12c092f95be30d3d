"""Targets under random faults: delivered records are compared with each STATE immediately."""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from tests.chaos import conditions
from tests.chaos.fault_plan import REQUEST_TIMEOUT_SECONDS, plan_faults
from tests.chaos.runs import REQUESTS_PER_KILL, Kill, Runs
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.sandbox.vendor import Vendor

KEYED, UNKEYED = "customers", "visits"
_MOST_FAILED_RUNS = 100

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
    """Records with the numbers 1 to `count`, of two streams; every STATE is such a number."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self.count = count
        kinds = [chance.random() < 0.7 for _ in range(count)]
        #: The stream of each record; the number of a record is its position, starting at 1.
        self.streams = [KEYED if keyed else UNKEYED for keyed in kinds]
        self.ids = [f"k{chance.randrange(1 + count // 5)}" for _ in kinds]
        self._states = {n for n in range(1, count) if chance.random() < 0.2} | {count}

    def numbers(self, stream: str) -> Iterator[int]:
        """Yield the numbers of a stream's records."""
        return (n for n, name in enumerate(self.streams, 1) if name == stream)

    def lines(self, after: int) -> Iterator[bytes]:
        """Yield the messages of a tap that resumes from a STATE."""
        for schema in _SCHEMAS:
            yield json.dumps(schema).encode() + b"\n"
        for n in range(after + 1, self.count + 1):
            record = {"id": self.ids[n - 1], "n": n}
            message = {"type": "RECORD", "stream": self.streams[n - 1], "record": record}
            yield json.dumps(message).encode() + b"\n"
            if n in self._states:
                yield json.dumps({"type": "STATE", "value": {"n": n}}).encode() + b"\n"


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
        self._taken: list[tuple[int, str, int]] = []
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
        return ((senders[request], n) for request, arc, n in self._taken if arc == UNKEYED)

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
            self._taken.append((row["request"], row["arc_class"], n))
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
        self._taken: list[tuple[int, int]] = []
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
        return ((senders[request], n) for request, n in self._taken)

    def _look(self) -> None:
        rows = self.vendor.store.rows(
            "SELECT number, request, row FROM monetate_rows WHERE dataset = ? AND number > ?",
            UNKEYED,
            self._read,
        )
        for row in rows:
            self._read = max(self._read, row["number"])
            n = json.loads(row["row"])["n"]
            self._taken.append((row["request"], n))
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


class Campaign:
    """Runs of one target, each resumed from the last STATE, until all input is delivered.

    Args:
        load: The target and its vendor.
        seed: The seed of everything.
        requests: The approximate number of requests, if none had to be repeated.
        folder: The folder of its files.

    Attributes:
        history: The runs and their results.
    """

    def __init__(self, load: type[Load], seed: int, requests: int, folder: Path) -> None:
        self._chance = random.Random(f"{load.target} {seed}")
        self._sandbox = Sandbox(seed=seed, vendors=[load.vendor_name])
        batches = max(10, requests // load.requests_per_batch)
        self._records = Records(batches * load.rows // 2, self._chance)
        self._kills = max(1, requests // REQUESTS_PER_KILL)
        self._load = load(self._sandbox, self._records)
        self._folder = folder
        self._state = 0
        self._may_reject = False
        self._runs = Runs(load.target, folder, self._sandbox, self._load.vendor, seed)
        self.history: list[str] = []

    def carry_out(self) -> None:
        """Run until a run succeeds, and check everything at the end."""
        with self._sandbox, self._runs:
            while not self._run():
                assert len(self.history) < _MOST_FAILED_RUNS + 2 * self._kills, self.history
            assert self._state == self._records.count
            self._judge()

    def _run(self) -> bool:
        chance, load = self._chance, self._load
        plan_faults(self._sandbox.faults, load.vendor_name, chance, *load.random_faults)
        kill = None
        if self._runs.kills < self._kills:
            kill = Kill.drawn(chance)
        config = {
            "max_attempts": 4,
            "request_timeout_seconds": REQUEST_TIMEOUT_SECONDS,
            "max_request_rows": load.rows,
            "parallel_requests": chance.choice([1, 2, 4, 8]),
            "checkpoint_interval_seconds": chance.choice([0.05, 0.2, 1, 60]),
            "max_rejected_records": 1_000_000,
            "reject_path": str(self._folder / "rejects"),
            "user_agent": f"run {self._runs.count}",
            **load.settings(),
        }
        drawn = conditions.draw(chance)
        self._may_reject = self._may_reject or drawn.may_reject
        began = self._state
        ended = self._runs.run(
            config,
            drawn,
            on_line=self._state_line,
            feed=self._records.lines(self._state),
            kill=kill,
        )
        load.calm_down()
        self.history.append(f"{began}-{self._state} {drawn} {kill} -> {ended.status}")
        return ended.status == 0

    def _state_line(self, line: bytes) -> None:
        """Assert that STATE covers only records that the vendor has accepted."""
        n = json.loads(line)["n"]
        assert n >= self._state, "STATE goes back"
        missing = self._load.missing(range(self._state + 1, n + 1))
        missing -= self._reported() if missing else set()
        assert not missing, f"STATE {n} is ahead of {sorted(missing)[:10]}; {self.history}"
        self._state = n

    def _reported(self) -> set[int]:
        """Return the records in reports: of unknown outcome, others only after an error."""
        numbers = set()
        for path in (self._folder / "rejects").glob("*.jsonl"):
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):  # a killed process may leave an incomplete line
                    entry = json.loads(line)
                    is_unknown = entry["reason"].startswith("outcome unknown")
                    assert self._may_reject or (is_unknown and entry["stream"] == UNKEYED), entry
                    numbers.add(entry["record"]["n"])
        return numbers

    def _judge(self) -> None:
        load, records = self._load, self._records
        reported = self._reported()
        assert load.missing(range(1, records.count + 1)) <= reported
        values = load.value_of_each_key()
        newer = {n for n in records.numbers(KEYED) if values.get(records.ids[n - 1], 0) < n}
        assert newer <= reported
        assert load.repeats() == []
        assert load.overlaps() == []
        assert self._sandbox.errors == []

    def __str__(self) -> str:
        """Describe the runs in one line."""
        requests = self._load.vendor.requests
        faults = sum(request.fault is not None for request in requests)
        return (
            f"{len(self.history)} runs, {self._runs.kills} kills, {len(requests)} requests, "
            f"{faults} of them with a fault, {self._records.count} records, "
            f"{len(self._reported())} reported"
        )
