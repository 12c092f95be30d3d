"""Targets under random faults: delivered records are compared with each STATE immediately."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from tests.chaos import conditions
from tests.chaos.fault_plan import REQUEST_TIMEOUT_SECONDS, plan_faults
from tests.chaos.loads import KEYED, UNKEYED, Records
from tests.chaos.runs import REQUESTS_PER_KILL, Kill, Runs
from tests.sandbox.server import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.loads import Load

_MOST_FAILED_RUNS = 100


class LoadCampaign:
    """Runs of one target, each resumed from the last STATE, until all input is delivered.

    Args:
        load: The target and its vendor.
        seed: The seed of everything.
        requests: The approximate number of requests, if none had to be repeated.
        folder: The folder of its files.
        has_ledger: Whether the target has a ledger, for which all records need a key.

    Attributes:
        history: The runs and their results.
    """

    def __init__(
        self,
        load: type[Load],
        seed: int,
        requests: int,
        folder: Path,
        *,
        has_ledger: bool = False,
    ) -> None:
        self._has_ledger = has_ledger
        self._chance = random.Random(f"{load.target} {seed}")
        self._sandbox = Sandbox(seed=seed, vendors=[load.vendor_name])
        batches = max(10, requests // load.requests_per_batch)
        keyed = {"keyed": 1.0} if has_ledger else {}
        self._records = Records(batches * load.rows // 2, self._chance, **keyed)
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
            if self._has_ledger:
                self._judge_ledger()

    def _run(self) -> bool:
        chance, load = self._chance, self._load
        plan_faults(self._sandbox.faults, load.vendor_name, chance, *load.random_faults)
        drawn = conditions.draw(chance)
        # for a ledger, a gateway's address is another destination
        while self._has_ledger and (drawn.uses_gateway or drawn.kind == "little memory"):
            drawn = conditions.draw(chance)
        kill = None
        if self._runs.kills < self._kills:
            kill = Kill.drawn(chance, drawn)
        config = self._config()
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

    def _config(self) -> dict[str, Any]:
        chance, load = self._chance, self._load
        ledger = {"ledger": str(self._folder / "ledger.db")} if self._has_ledger else {}
        return {
            "max_attempts": 4,
            "request_timeout_seconds": REQUEST_TIMEOUT_SECONDS,
            "max_request_rows": load.rows,
            "parallel_requests": chance.choice([1, 2, 4, 8]),
            "checkpoint_interval_seconds": chance.choice([0.05, 0.2, 1, 60]),
            "max_rejected_records": 1_000_000,
            "reject_path": str(self._folder / "rejects"),
            "user_agent": f"run {self._runs.count}",
            **ledger,
            **load.settings(),
        }

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

    def _judge_ledger(self) -> None:
        """Load the last record of each key twice: the second time, nothing is sent."""
        load, expected = self._load, self._records.last_of_each_key()
        self._sandbox.faults.clear()
        for _ in range(2):
            ended = self._runs.run(
                self._config(),
                conditions.Conditions("plain"),
                on_line=lambda _: None,
                feed=self._records.lines_of_last(),
            )
            load.calm_down()
            assert ended.status == 0, ended.log
            assert load.value_of_each_key() == expected
        (summary,) = (line for line in ended.log.splitlines() if "summary: " in line)
        counts = json.loads(summary.partition("summary: ")[2])
        assert (counts["unchanged"], counts["requests"]) == (len(expected), 0), counts

    def __str__(self) -> str:
        """Describe the runs in one line."""
        records = f"{self._records.count} records, {len(self._reported())} reported"
        return f"{len(self.history)} runs, {self._runs}, {records}"
