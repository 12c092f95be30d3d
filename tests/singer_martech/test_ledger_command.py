"""The command ``singer-martech-ledger``."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from singer_martech.cli.ledger import main
from tests.kit.fake_destination import FakeDestination
from tests.kit.ledger import SCOPE, LedgerRun

if TYPE_CHECKING:
    from click.testing import Result


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with two streams of two keys each."""
    for stream in ("orders", "people"):
        with LedgerRun(tmp_path, scope=SCOPE._replace(stream=stream)) as run:
            run.load(FakeDestination(), [(f"{stream}-{number}", "A") for number in range(2)])
            run.finish()
    return tmp_path / "ledger.db"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_show_lists_destinations_with_counts_and_dates(ledger: Path) -> None:
    result = command("show", ledger)
    first, second = result.output.splitlines()
    assert first.startswith(
        "stream 'orders' (target-test, account, collection): 2 keys, accepted from 20"
    )
    assert second.startswith("stream 'people'")


def test_forget_removes_one_stream(ledger: Path, tmp_path: Path) -> None:
    result = command("forget", ledger, "--stream", "people")
    assert result.output == (
        "stream 'people' (target-test, account, collection): 2 keys forgotten\n"
    )
    assert len(command("show", ledger).output.splitlines()) == 1
    destination = FakeDestination()
    with LedgerRun(tmp_path) as run:
        run.load(destination, [("people-0", "A"), ("orders-0", "A")])
        run.finish()
    assert destination.accepted == [b"A"]


def test_forget_removes_all(ledger: Path) -> None:
    assert command("forget", ledger, "--all").exit_code == 0
    assert command("show", ledger).output == ""


@pytest.mark.parametrize("options", [(), ("--all", "--stream", "orders")])
def test_forget_needs_a_selection(ledger: Path, options: tuple[str, ...]) -> None:
    assert command("forget", ledger, *options).exit_code == 2
    assert len(command("show", ledger).output.splitlines()) == 2


def test_forget_reports_a_missing_destination(ledger: Path) -> None:
    result = command("forget", ledger, "--stream", "nothing")
    assert result.exit_code == 1
    assert "has no such destination" in result.output


def test_forget_does_not_wait_for_a_run(ledger: Path, tmp_path: Path) -> None:
    with LedgerRun(tmp_path):
        result = command("forget", ledger, "--stream", "orders")
    assert result.exit_code == 1
    assert "another run is using it" in result.output
    assert len(command("show", ledger).output.splitlines()) == 2


def test_verify_finds_no_damage_in_a_good_ledger(ledger: Path) -> None:
    result = command("verify", ledger)
    assert (result.exit_code, result.output) == (0, "4 keys, no damage found\n")


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            ["DELETE FROM ledger_destinations WHERE stream = 'people'"],
            ["2 key(s) belong to no destination"],
        ),
        (
            ["UPDATE ledger_blocks SET entries = x'00'"],
            ["2 block(s) have a wrong length", "4 key(s) without an entry"],
        ),
        (["DELETE FROM ledger_blocks"], ["4 key(s) without an entry"]),
        (
            ["UPDATE ledger_entries SET block = 3 - block"],
            ["4 key(s) are in another block than the table of keys says"],
        ),
    ],
)
def test_verify_names_damage(ledger: Path, damage: list[str], problems: list[str]) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        for statement in damage:
            connection.execute(statement)
    result = command("verify", ledger)
    assert result.exit_code == 1
    assert result.output.splitlines() == problems


def test_a_missing_ledger_is_not_created(tmp_path: Path) -> None:
    result = command("show", tmp_path / "none.db")
    assert result.exit_code == 1
    assert "does not exist" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("show",), ("verify",), ("forget", "--all")])
def test_another_database_gets_no_tables(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE mine (id)")
    name, *options = arguments
    result = command(name, path, *options)
    assert result.exit_code == 1
    assert "no such table: ledger_format" in result.output
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "nothing does not exist"),
        ("link", "/link: it is a symbolic link to nothing"),
        ("fifo", "/fifo: it is not a regular file"),
        (".", ": it is not a regular file"),
        ("fifo/ledger.db", "fifo/ledger.db does not exist"),
    ],
)
def test_what_is_no_ledger_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "fifo")
    result = command("show", tmp_path / name)
    assert (result.exit_code, result.output.strip()[-len(reason) :]) == (1, reason)
    assert {path.name for path in tmp_path.iterdir()} == {"fifo", "link"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["show"], "Error: nothing can be written: standard output is closed\n"),
        (["verify"], ""),
        (["forget", "--all"], ""),
    ],
)
def test_only_the_list_needs_standard_output(
    ledger: Path, arguments: list[str], error: str
) -> None:
    path = Path(sys.executable).with_name("singer-martech-ledger")
    name, *options = arguments
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", path, name, ledger, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (bool(error), error)
