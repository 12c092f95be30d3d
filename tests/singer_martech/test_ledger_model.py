"""After any sequence of runs and kills, the vendor has the same content as without a ledger."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from singer_martech.errors import MartechError
from tests.kit.fake_destination import FakeDestination, broken
from tests.kit.ledger import SCOPE, LedgerRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from singer_martech.delivery.ledger_tables import Database, Statement

    Record = tuple[str, str | None]


class Killed(BaseException):
    """The process ends here."""


class KilledDatabase:
    """A database whose process is killed before or after one of its transactions."""

    def __init__(self, database: Database, at: int, *, before: bool) -> None:
        self._write: Callable[[Iterable[Statement]], None] = database.write
        self._left = at
        self._before = before

    def write(self, statements: Iterable[Statement]) -> None:
        self._left -= 1
        if self._left < 0 and self._before:
            raise Killed
        self._write(statements)
        if self._left < 0:
            raise Killed


class OneRun(NamedTuple):
    """The records of a run, and what goes wrong.

    Attributes:
        records: Keys and bodies; None deletes.
        max_rows: The maximum number of records per request.
        kill_at: The transaction at which it is killed.
        kill_before: Whether it is killed before that transaction, or after it.
        lose: The request whose response is lost, although the vendor accepted it.
        reject: A body that the vendor rejects.
    """

    records: list[Record]
    max_rows: int = 2
    kill_at: int | None = None
    kill_before: bool = False
    lose: int | None = None
    reject: str | None = None


RECORDS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", None])), max_size=8)
RUNS = st.builds(
    OneRun,
    RECORDS,
    st.integers(1, 3),
    st.none() | st.integers(0, 5),
    st.booleans(),
    st.none() | st.integers(0, 3),
    st.none() | st.sampled_from("12"),
)


class Vendor:
    """Keeps the last body of each key."""

    def __init__(self) -> None:
        self.accepted: list[bytes] = []

    @property
    def holds(self) -> dict[str, str]:
        held: dict[str, str] = {}
        for body in self.accepted:
            key, _, value = body.decode().partition("=")
            if value:
                held[key] = value
            else:
                held.pop(key.removeprefix("deleted "), None)
        return held

    def destination(self, run: OneRun, *, merges_by_key: bool) -> FakeDestination:
        destination = FakeDestination(run.max_rows, merges_by_key=merges_by_key)
        destination.accepted = self.accepted
        destination.names_rejected = True

        def respond(bodies: list[bytes]) -> list[bytes]:
            if run.lose is not None and len(destination.requests) > run.lose:
                self.accepted.extend(bodies)
                raise broken()
            rejected = f"={run.reject}".encode()
            return [body for body in bodies if run.reject and body.endswith(rejected)]

        destination.reject_when = respond
        return destination


def load(folder: Path, vendor: Vendor, run: OneRun, *, merges_by_key: bool = False) -> bool:
    """Return whether the run was completed."""
    destination = vendor.destination(run, merges_by_key=merges_by_key)
    records = [(key, None if body is None else f"{key}={body}") for key, body in run.records]
    with LedgerRun(folder, allowed=100) as current:
        if run.kill_at is not None:
            database = current.store._database  # noqa: SLF001 - a process is killed anywhere
            killed = KilledDatabase(database, run.kill_at, before=run.kill_before)
            database.write = killed.write  # type: ignore[method-assign] # likewise
        try:
            for record in records:
                current.load(destination, [record])
                current.harness.state()
                current.harness.dispatcher.tick()
            current.finish()
        except (Killed, MartechError):
            with contextlib.suppress(Killed):
                current.wait_for_requests()
            return False
        metrics = current.metrics
        assert metrics.pending == 0
        return True


def expected(before: dict[str, str], run: OneRun) -> dict[str, str]:
    """Return the content of the vendor after a run without a ledger."""
    held = dict(before)
    for key, body in run.records:
        if body is None:
            held.pop(key, None)
        elif body != run.reject:
            held[key] = body
    return held


@settings(max_examples=150)
@given(runs=st.lists(RUNS, min_size=1, max_size=5), merges_by_key=st.booleans())
@example(
    runs=[
        OneRun([("a", "1")]),
        OneRun([("a", "2")], kill_at=1, kill_before=True),
        OneRun([("a", "1")]),
    ],
    merges_by_key=False,
)
def test_the_vendor_has_the_same_content_as_without_a_ledger(
    runs: list[OneRun],
    merges_by_key: bool,
) -> None:
    vendor = Vendor()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for run in runs:
            before = vendor.holds
            if load(folder, vendor, run, merges_by_key=merges_by_key):
                assert vendor.holds == expected(before, run)
        last = OneRun([(key, body) for run in runs for key, body in run.records])
        before = vendor.holds
        assert load(folder, vendor, last, merges_by_key=merges_by_key)
        assert vendor.holds == expected(before, last)
        count = len(vendor.accepted)
        assert load(folder, vendor, OneRun(list(vendor.holds.items())))
        assert len(vendor.accepted) == count


@pytest.mark.parametrize("kill_before", [True, False])
@pytest.mark.parametrize("kill_at", range(6))
def test_a_body_sent_before_a_kill_is_not_mistaken_for_an_earlier_one(
    tmp_path: Path, kill_at: int, kill_before: bool
) -> None:
    vendor = Vendor()
    for run in (
        OneRun([("a", "1"), ("b", "1")]),
        OneRun([("a", "2"), ("b", "2")], kill_at=kill_at, kill_before=kill_before),
        OneRun([("a", "1"), ("b", "1")]),
    ):
        load(tmp_path, vendor, run)
    assert vendor.holds == {"a": "1", "b": "1"}
    with LedgerRun(tmp_path) as current:
        assert current.store.count(SCOPE) == 2
