"""A ledger in PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from singer_martech.delivery.ledger_settings import open_store
from singer_martech.delivery.ledger_tables import LedgerError
from singer_martech.errors import SettingError
from tests.kit.fake_destination import FakeDestination
from tests.kit.ledger import SCOPE, LedgerRun
from tests.pipelines.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres("SELECT 1") as found:
        address = f"{found['host']}:{found['port']}"
        yield f"postgresql+psycopg://{found['user']}:hidden-word@{address}/{found['database']}"


def test_a_url_without_a_driver_uses_that_of_the_extra(server: str) -> None:
    store = open_store(server.replace("postgresql+psycopg://", "postgresql://"))
    assert store.problems() == []
    store.close()


def test_only_changed_records_are_sent(server: str, tmp_path: Path) -> None:
    destination = FakeDestination()
    scope = SCOPE._replace(stream="changes")
    for body in ("A", "A", "B", None):
        with LedgerRun(tmp_path, location=server, scope=scope) as run:
            run.load(destination, [("k", body), ("l", "same")])
            run.finish()
            count = run.store.count(scope)
        assert count == (1 if body is None else 2)
    assert destination.accepted == [b"A", b"same", b"B", b"deleted k"]


def test_records_that_a_killed_run_has_sent_are_in_doubt(server: str, tmp_path: Path) -> None:
    destination = FakeDestination()
    for body in ("A", "B", "A"):
        with LedgerRun(tmp_path, location=server, scope=SCOPE._replace(stream="killed")) as run:
            run.load(destination, [("killed", body)])
            if body == "B":
                run.send_without_settling()
            else:
                run.finish()
    assert destination.accepted == [b"A", b"B", b"A"]


def test_a_second_run_on_one_destination_fails_with_a_reason(server: str, tmp_path: Path) -> None:
    with (
        LedgerRun(tmp_path, location=server),
        pytest.raises(LedgerError, match="another run is using it") as error,
    ):
        LedgerRun(tmp_path, location=server)
    assert "hidden-word" not in str(error.value)
    with LedgerRun(tmp_path, location=server) as run:
        assert run.store.problems() == []


def test_unseen_keys_are_found(server: str, tmp_path: Path) -> None:
    scope = SCOPE._replace(stream="mirrored")
    with LedgerRun(tmp_path, location=server, scope=scope) as run:
        for version, keys in ((1, "xyz"), (2, "x")):
            run.stream.set_version(version)
            run.load(FakeDestination(), [(f"mirrored {key}", "A") for key in keys])
            run.finish()
        assert run.store.count_unseen(scope, 2) == (2, 2)
        assert run.store.count_unseen(scope, 3) == (3, 3)
        (summary,) = [each for each in run.store.summaries() if each.scope == scope]
        assert (summary.entries, summary.in_doubt) == (3, 0)
        assert run.store.forget(scope) == 3


def test_a_missing_server_is_a_setting_error() -> None:
    with pytest.raises(SettingError, match="setting 'ledger'") as error:
        open_store("postgresql+psycopg://me:hidden-word@127.0.0.1:1/none")
    assert "hidden-word" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://host/name", "nothing://host/name", "postgresql://["])
def test_another_database_is_a_setting_error(url: str) -> None:
    with pytest.raises(SettingError, match="setting 'ledger'"):
        open_store(url)


def test_no_database_is_loaded_without_a_ledger() -> None:
    code = (
        "import sys, target_mona.target, target_mediarithmics.target, target_monetate.target;"
        "print({'sqlalchemy', 'singer_martech.delivery.ledger_sqlite'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
