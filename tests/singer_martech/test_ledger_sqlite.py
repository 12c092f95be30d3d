"""The SQLite file of a ledger."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singer_martech.delivery.ledger_blocks import BLOCK_ENTRIES
from singer_martech.delivery.ledger_results import Results
from singer_martech.delivery.ledger_sqlite import SqliteDatabase
from singer_martech.delivery.ledger_store import LedgerStore
from singer_martech.delivery.ledger_tables import IN_DOUBT
from singer_martech.errors import SettingError
from tests.kit.fake_destination import FakeDestination
from tests.kit.ledger import SCOPE, LedgerRun

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

    from singer_martech.delivery.ledger_tables import Entry

COUNT = 300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LedgerStore]:
    store = LedgerStore(SqliteDatabase(str(tmp_path / "ledger.db")))
    yield store
    store.close()


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def accept(
    store: LedgerStore, numbers: Sequence[int], *, body: int = 1, destination: int = 7
) -> None:
    results = Results()
    keys = [key(number) for number in numbers]
    results.accept(destination, 0, keys, [key(body)] * len(keys))
    store.write_settled(results)


def delete(store: LedgerStore, numbers: Iterable[int]) -> None:
    results = Results()
    for number in numbers:
        results.delete(7, 0, key(number))
    store.write_settled(results)


def lookup(store: LedgerStore, numbers: Iterable[int], destination: int = 7) -> dict[bytes, Entry]:
    return store.lookup(destination, dict.fromkeys(map(key, numbers)), 0)


def bodies(found: dict[bytes, Entry]) -> dict[bytes, bytes]:
    return {each: body for each, (body, _) in found.items()}


LOOKUPS = st.lists(
    st.one_of(
        st.builds(range, st.integers(0, COUNT), st.integers(0, 2 * COUNT)).map(list),
        st.lists(st.integers(0, 2 * COUNT), unique=True),
    ),
    max_size=5,
)
NUMBERS = st.sets(st.integers(0, COUNT))


@settings(max_examples=100)
@given(lookups=LOOKUPS, deleted=NUMBERS, changed=NUMBERS, moved=NUMBERS)
def test_a_lookup_finds_the_entries_of_its_keys_in_any_order(
    lookups: list[list[int]], deleted: set[int], changed: set[int], moved: set[int]
) -> None:
    with TemporaryDirectory() as folder:
        store = LedgerStore(SqliteDatabase(str(Path(folder) / "ledger.db")))
        accept(store, range(COUNT))
        delete(store, deleted)
        accept(store, sorted(changed), body=2)
        accept(store, sorted(moved), body=3, destination=8)
        held = dict.fromkeys(set(range(COUNT)) - deleted, key(1))
        held.update(dict.fromkeys(changed, key(2)))
        held.update(dict.fromkeys(moved, key(3)))
        for numbers in lookups:
            found = bodies(lookup(store, numbers))
            assert {number: found.get(key(number)) for number in numbers} == {
                number: held.get(number) for number in numbers
            }
        assert store.problems() == [f"{len(held):,} key(s) belong to no destination"]
        store.close()


def test_the_seed_of_a_ledger_is_random_and_stays_the_same(tmp_path: Path) -> None:
    seeds = []
    for name in ("one.db", "two.db", "one.db"):
        store = LedgerStore(SqliteDatabase(str(tmp_path / name)))
        seeds.append(store.seed)
        store.close()
    first, other, again = seeds
    assert first == again != other


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    database = SqliteDatabase(str(tmp_path / "ledger.db"))
    old = "CREATE TABLE ledger_format (format BIGINT NOT NULL, last_block BIGINT NOT NULL)"
    database.write([(old, [{}]), ("INSERT INTO ledger_format VALUES (2, 0)", [{}])])
    with pytest.raises(SettingError, match="has format 2, but this version knows format 3"):
        LedgerStore(database)
    database.close()


def test_two_runs_that_create_the_tables_at_the_same_time_use_one_seed(tmp_path: Path) -> None:
    class Late(SqliteDatabase):
        """Does not see yet that another run adds the format."""

        def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
            rows = super().rows(statement, **parameters)
            return [] if statement == "SELECT format FROM ledger_format" else rows

    path = str(tmp_path / "ledger.db")
    first, second = LedgerStore(Late(path)), LedgerStore(Late(path))
    assert first.seed == second.seed
    first.close()
    second.close()


def test_records_in_the_order_of_the_blocks_are_read_without_looking_up_each(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(str(tmp_path / "ledger.db"))
    store = LedgerStore(database)
    accept(store, range(1000))
    lookup(store, range(110))
    searched: list[str] = []
    database._connection.set_trace_callback(searched.append)  # noqa: SLF001 - no other view of it
    found = lookup(store, range(110, 500))
    assert all(key(number) in found for number in range(110, 500))
    assert len(searched) == 1
    assert f"id >= {109 // BLOCK_ENTRIES + 1} " in searched[0]
    store.close()


def test_a_change_of_many_records_writes_few_blocks(tmp_path: Path) -> None:
    database = SqliteDatabase(str(tmp_path / "ledger.db"))
    store = LedgerStore(database)
    accept(store, range(1000))
    written: list[str] = []
    database._connection.set_trace_callback(written.append)  # noqa: SLF001 - no other view of it
    accept(store, range(500), body=2)
    updates = [statement for statement in written if statement.startswith(("UPDATE", "INSERT"))]
    assert len(updates) == 500 / BLOCK_ENTRIES
    store.close()


def test_a_key_that_moved_to_another_block_is_changed_there(store: LedgerStore) -> None:
    accept(store, range(3))
    ((_, block),) = lookup(store, [1]).values()
    delete(store, [1])
    accept(store, [1])
    results = Results()
    results.blocks.add(block)
    results.accept(7, 0, [key(1)], [key(2)])
    store.write_settled(results)
    assert bodies(lookup(store, [1])) == {key(1): key(2)}
    assert store.problems() == ["3 key(s) belong to no destination"]


def test_a_key_belongs_to_the_destination_of_its_last_result(store: LedgerStore) -> None:
    results = Results()
    results.accept(8, 20, [key(1)], [key(1)])
    results.accept(7, 10, [key(0), key(1)], [key(2), key(2)])
    assert list(results.owners().items()) == [(key(0), 7), (key(1), 7)]
    store.write_settled(results)
    rows = store._database.rows("SELECT destination, length(entries) FROM ledger_blocks")  # noqa: SLF001 - no other view of it
    assert rows == [(7, 2 * 40)]


def test_a_block_without_entries_is_removed(store: LedgerStore) -> None:
    accept(store, range(3))
    delete(store, range(3))
    assert store.count(SCOPE) == 0
    assert store._database.rows("SELECT count(*) FROM ledger_blocks") == [(0,)]  # noqa: SLF001 - no other view of it


def test_a_key_in_doubt_keeps_its_place(store: LedgerStore) -> None:
    accept(store, range(60))
    before = lookup(store, range(60))
    results = Results()
    results.doubt(7, 0, [key(30), key(99)])
    store.write_settled(results)
    _, block = before[key(30)]
    assert lookup(store, range(60)) == {**before, key(30): (IN_DOUBT, block)}


def test_new_keys_are_stored_in_the_order_of_the_input(tmp_path: Path) -> None:
    records = [(f"k{number}", "A") for number in range(2 * BLOCK_ENTRIES)]
    with LedgerRun(tmp_path) as run:
        run.load(FakeDestination(max_rows=3), records)
        run.finish()
    with LedgerRun(tmp_path) as run:
        run.load(FakeDestination(), records)
        found = run.ledger._look_up()  # noqa: SLF001 - no other view of it
        (group,) = run.ledger._buffer  # noqa: SLF001 - likewise
        blocks = [found[record.key_hash][1] for record in group.records]
        assert blocks == [1] * BLOCK_ENTRIES + [2] * BLOCK_ENTRIES
        run.finish()


class _Overtaken(SqliteDatabase):
    """A database that another run changes between two queries."""

    def rows_in(self, statement: str, values: Collection[Any]) -> list[tuple[Any, ...]]:
        rows = super().rows_in(statement, values)
        with LedgerRun(Path(self.name).parent) as run:
            run.load(FakeDestination(), [("old", None), ("older", None), ("new", "A")])
            run.finish()
        return rows


def test_a_concurrent_run_does_not_look_like_damage(tmp_path: Path) -> None:
    with LedgerRun(tmp_path) as run:
        run.load(FakeDestination(), [("old", "A"), ("older", "A"), ("oldest", "A")])
        run.finish()
    store = LedgerStore(_Overtaken(str(tmp_path / "ledger.db")))
    assert store.problems() == []
    store.close()
    with LedgerRun(tmp_path) as run:
        assert run.store.count(SCOPE) == 2
        assert run.store.problems() == []
