"""The SQLite file of a ledger."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from singer_martech.delivery.ledger_sqlite import SqliteDatabase
from singer_martech.delivery.ledger_store import LedgerStore
from tests.kit.fake_destination import FakeDestination
from tests.kit.ledger import SCOPE, LedgerRun

COUNT = 300


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entry(number: int) -> dict[str, object]:
    return {"key": key(number), "destination": SCOPE.id, "body": key(number), "now": number}


BLOCKS = st.lists(
    st.one_of(
        st.builds(range, st.integers(0, COUNT), st.integers(0, 2 * COUNT)).map(list),
        st.lists(st.integers(0, 2 * COUNT), unique=True),
    ),
    max_size=5,
)


@settings(max_examples=100)
@given(blocks=BLOCKS, deleted=st.sets(st.integers(0, COUNT)))
def test_a_lookup_finds_the_entries_of_its_keys_in_any_order(
    blocks: list[list[int]], deleted: set[int]
) -> None:
    with TemporaryDirectory() as folder:
        store = LedgerStore(SqliteDatabase(str(Path(folder) / "ledger.db")))
        store.write_settled([], [entry(number) for number in range(COUNT)], [], [], [])
        store.write_settled([], [], [], [key(number) for number in deleted], [])
        for block in blocks:
            found = store.lookup([key(number) for number in block])
            held = {number for number in block if number < COUNT and number not in deleted}
            assert {number for number in block if key(number) in found} == held
            assert all(found[key(number)][1] == key(number) for number in held)
        store.close()


def test_records_in_the_order_of_their_rows_are_read_without_looking_up_each(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(str(tmp_path / "ledger.db"))
    store = LedgerStore(database)
    store.write_settled([], [entry(number) for number in range(1000)], [], [], [])
    store.lookup([key(number) for number in range(100)])
    searched: list[str] = []
    database._connection.set_trace_callback(searched.append)  # noqa: SLF001 - no other view of it
    found = store.lookup([key(number) for number in range(100, 200)])
    assert all(key(number) in found for number in range(100, 200))
    assert len(searched) == 1
    assert "rowid >=" in searched[0]
    store.close()


def test_a_row_that_now_has_another_key_is_not_changed(tmp_path: Path) -> None:
    store = LedgerStore(SqliteDatabase(str(tmp_path / "ledger.db")))
    store.write_settled([], [entry(1)], [], [], [])
    row = store.lookup([key(1)])[key(1)][4]
    store.write_settled([], [], [], [key(1)], [])
    store.write_settled([], [entry(2)], [], [], [])
    assert store.lookup([key(2)])[key(2)][4] == row
    assert row is not None
    store.write_settled([(SCOPE.id, key(1), 1, row, key(1))], [], [], [], [])
    assert store.lookup([key(2)])[key(2)][1] == key(2)
    store.close()


def test_new_keys_are_stored_in_the_order_of_the_input(tmp_path: Path) -> None:
    destination = FakeDestination(max_rows=3)
    with LedgerRun(tmp_path) as run:
        run.load(destination, [(f"k{number}", "A") for number in range(50)])
        run.finish()
    for body in ("A", "B"):
        with LedgerRun(tmp_path) as run:
            database = run.store._database  # noqa: SLF001 - no other view of it
            run.load(destination, [(f"k{number}", body) for number in range(50)])
            marks = [run.stream.mark(record)[:16] for _, _, record in run.ledger._buffer]  # noqa: SLF001
            found = database.entries(marks)
            assert [found[mark][4] for mark in marks] == list(range(1, 51))
            run.finish()
