"""The records that the ledger sends, with an in-memory vendor."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from singer_martech.delivery.ledger_settings import open_store
from singer_martech.delivery.ledger_tables import LedgerError, Scope
from singer_martech.errors import MartechError, SettingError
from tests.kit.fake_destination import FakeDestination, broken
from tests.kit.ledger import SCOPE, LedgerRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Iterator[LedgerRun]:
    with LedgerRun(tmp_path) as run:
        yield run


def test_a_record_that_the_vendor_accepted_is_not_sent_again(tmp_path: Path) -> None:
    for sent in ([b"A", b"B"], []):
        destination = FakeDestination()
        with LedgerRun(tmp_path) as run:
            run.load(destination, [("k", "A"), ("l", "B")])
            run.finish()
        assert destination.accepted == sent
        assert run.metrics.unchanged == 2 - len(sent)
        assert run.metrics.read == run.metrics.delivered + run.metrics.unchanged


def test_a_changed_record_is_sent(tmp_path: Path) -> None:
    destination = FakeDestination()
    for body in ("A", "B"):
        with LedgerRun(tmp_path) as run:
            run.load(destination, [("k", body), ("l", "same")])
            run.finish()
    assert destination.accepted == [b"A", b"same", b"B"]


@pytest.mark.parametrize("max_rows", [1, 10])
def test_an_earlier_body_is_sent_while_another_is_in_flight(tmp_path: Path, max_rows: int) -> None:
    destination = FakeDestination(max_rows)
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A"), ("k", "B"), ("k", "A")])
        run.finish()
    assert destination.accepted == [b"A", b"B", b"A"]


def test_a_rejected_record_is_sent_again(tmp_path: Path) -> None:
    for sent in ([b"A"], [b"A", b"B"]):
        destination = FakeDestination()
        if len(sent) == 1:
            destination.reject_when = lambda _bodies: [b"B"]
            destination.names_rejected = True
        with LedgerRun(tmp_path, allowed=1) as run:
            run.load(destination, [("k", "A"), ("l", "B")])
            run.finish()
        assert destination.accepted == sent[-1:]


def test_a_rejected_change_is_in_doubt(tmp_path: Path) -> None:
    destination = FakeDestination()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])
        run.finish()
    destination.reject_when = lambda bodies: [body for body in bodies if body == b"B"]
    destination.names_rejected = True
    with LedgerRun(tmp_path, allowed=1) as run:
        run.load(destination, [("k", "B")])
        run.finish()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])
        run.finish()
    assert destination.accepted == [b"A", b"A"]


def test_a_record_whose_outcome_is_unknown_is_sent_again(tmp_path: Path) -> None:
    destination = FakeDestination()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])
        run.finish()

    def fail(_bodies: list[bytes]) -> list[bytes]:
        raise broken()

    destination.reject_when = fail
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "B")])
        with pytest.raises(MartechError):
            run.finish()
    destination.reject_when = lambda _bodies: ()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])  # the vendor may hold B
        run.finish()
    assert destination.accepted == [b"A", b"A"]


def test_records_that_a_killed_run_has_sent_are_in_doubt(tmp_path: Path) -> None:
    destination = FakeDestination()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])
        run.finish()
    with LedgerRun(tmp_path) as killed:
        killed.load(destination, [("k", "B")])
        killed.send_without_settling()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])
        run.finish()
    assert destination.accepted == [b"A", b"B", b"A"]


def test_a_second_stream_of_a_collection_does_not_end_the_doubt_about_the_first(
    tmp_path: Path,
) -> None:
    destination = FakeDestination(max_rows=1)
    with LedgerRun(tmp_path) as killed:
        killed.load(destination, [("k", "A")])
        killed.harness.dispatcher.flush()
        killed.harness.state()
        destination.gate.clear()
        killed.load(destination, [("k", "B")])
        killed.ledger.release()
        killed.ledger.stream(SCOPE._replace(stream="second"), killed.metrics, killed.stream.keys_of)
        killed.harness.dispatcher.write_state(now=True)  # the ledger has A now
        destination.gate.set()
        killed.wait_for_requests()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("k", "A")])
        run.finish()
    assert destination.accepted == [b"A", b"B", b"A"]


def test_a_deletion_is_always_sent_and_removes_the_key(tmp_path: Path) -> None:
    destination = FakeDestination()
    for body in ("A", None, None, "A"):
        with LedgerRun(tmp_path) as run:
            run.load(destination, [("k", body)])
            run.finish()
            count = run.store.count(SCOPE)
        assert count == (0 if body is None else 1)
    assert destination.accepted == [b"A", b"deleted k", b"deleted k", b"A"]


def test_state_covers_unchanged_records(run: LedgerRun, capsys: pytest.CaptureFixture[str]) -> None:
    destination = FakeDestination()
    run.load(destination, [("k", "A")])
    run.finish()
    run.load(destination, [("k", "A")])
    run.harness.state()
    run.finish()
    assert capsys.readouterr().out.splitlines()[-1] == '{"at": 2}'


def test_a_buffered_record_holds_back_state(
    run: LedgerRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run.load(FakeDestination(), [("k", "A")])
    run.harness.state()
    run.harness.dispatcher.write_state(now=True)
    assert capsys.readouterr().out == ""


def test_state_stops_before_a_failed_request_though_more_records_were_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    destination = FakeDestination(max_rows=2)

    def fail(_bodies: list[bytes]) -> list[bytes]:
        if len(destination.requests) > 2:
            raise broken()
        return []

    destination.reject_when = fail
    with LedgerRun(tmp_path, parallel=1) as run:
        for number in range(10):
            run.load(destination, [(f"k{number}", "A")])
            run.harness.state()
        with pytest.raises(MartechError):
            run.finish()
        run.harness.dispatcher.finish_in_flight()
        run.harness.dispatcher.write_state(now=True)
    assert destination.accepted == [b"A"] * 4
    assert capsys.readouterr().out.splitlines()[-1] == '{"at": 4}'


def test_the_ledger_is_committed_before_state_is_written(tmp_path: Path) -> None:
    with LedgerRun(tmp_path) as run:
        run.load(FakeDestination(), [("k", "A")])
        run.harness.state()
        run.harness.dispatcher.flush()
        run.harness.dispatcher.write_state(now=True)
        other = open_store(str(tmp_path / "ledger.db"))
        assert other.count(SCOPE) == 1
        other.close()


def test_a_second_run_on_one_destination_fails_with_a_reason(
    run: LedgerRun, tmp_path: Path
) -> None:
    run.load(FakeDestination(), [])
    with pytest.raises(LedgerError, match="another run is using it for stream 'orders'"):
        LedgerRun(tmp_path)


def test_two_destinations_of_one_ledger_load_at_once(run: LedgerRun, tmp_path: Path) -> None:
    destination = FakeDestination()
    with LedgerRun(tmp_path, scope=SCOPE._replace(collection="other")) as second:
        for key, each in (("k", run), ("l", second)):
            each.load(destination, [(key, "A")])
            each.finish()
    assert destination.accepted == [b"A", b"A"]


def test_streams_that_share_a_collection_share_its_keys(tmp_path: Path) -> None:
    destination = FakeDestination()
    for body, stream in (("A", "one"), ("B", "two"), ("A", "one"), ("A", "two")):
        with LedgerRun(tmp_path, scope=SCOPE._replace(stream=stream)) as run:
            run.load(destination, [("k", body)])
            run.finish()
    assert destination.accepted == [b"A", b"B", b"A"]


def test_unchanged_records_are_sent_again_after_the_time_given(tmp_path: Path) -> None:
    destination = FakeDestination()
    for seconds in (None, 3600.0, -1.0):
        with LedgerRun(tmp_path, resend_after_seconds=seconds) as run:
            run.load(destination, [("k", "A")])
            run.finish()
    assert destination.accepted == [b"A", b"A"]


def test_a_reset_sends_everything_again(tmp_path: Path) -> None:
    destination = FakeDestination()
    for reset in (False, True, False):
        with LedgerRun(tmp_path, reset=reset) as run:
            run.load(destination, [("k", "A")])
            run.finish()
    assert destination.accepted == [b"A", b"A"]


def test_a_dry_run_compares_and_writes_nothing(tmp_path: Path) -> None:
    with LedgerRun(tmp_path, is_dry_run=True) as run:
        run.load(FakeDestination(), [("k", "A")])
        run.finish()
    assert not (tmp_path / "ledger.db").exists()
    for body, is_dry_run in (("A", False), ("B", True), ("A", True)):
        with LedgerRun(tmp_path, is_dry_run=is_dry_run) as run:
            run.load(FakeDestination(), [("k", body)])
            run.finish()
    assert run.metrics.unchanged == 1


def test_a_record_without_a_key_is_always_sent(tmp_path: Path) -> None:
    destination = FakeDestination()
    for _ in range(2):
        with LedgerRun(tmp_path) as run:
            run.load(destination, [(None, "A")])
            run.finish()
    assert destination.accepted == [b"A", b"A"]


def test_a_record_that_is_too_large_is_rejected_and_not_remembered(tmp_path: Path) -> None:
    for _ in range(2):
        destination = FakeDestination(max_bytes=10)
        with LedgerRun(tmp_path, allowed=1) as run:
            run.load(destination, [("k", "x" * 20)])
            run.finish()
        assert run.metrics.rejected == 1


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "ledger.db"
    open_store(str(path)).close()
    path.chmod(0o644)
    store = open_store(str(path))
    store.open(SCOPE)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}
    assert os.path.basename(path) in modes  # noqa: PTH119 - a name


def test_a_file_that_is_not_a_database_is_a_setting_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like one" * 100)
    with pytest.raises(SettingError, match=r"setting 'ledger': .*not a database"):
        open_store(str(path))


def test_scopes_have_ids_that_differ() -> None:
    parts = Scope("t", "a", "c", "s")
    scopes = [parts, *(parts._replace(**{name: "x"}) for name in parts._fields)]
    assert len({scope.id for scope in scopes}) == len(scopes)
