"""The values of records of real taps arrive unchanged in each target."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.processes import inherited, output_of
from tests.pipelines.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.any_stream.loader import Loader

_TABLE = """
CREATE TABLE orders (
    id integer PRIMARY KEY, amount numeric(12,2), share double precision, big bigint, note text,
    paid boolean, at timestamptz, day date, data jsonb, tags text[], code char(3), uid uuid,
    exact numeric
);
INSERT INTO orders VALUES
    (1, 19.90, 0.1, 9007199254740993, 'Zo\u00eb', true, '2024-01-02 03:04:05+00', '2024-01-02',
     '{"a": [1, {"b": null}]}', '{a,b}', 'EUR', '00000000-0000-0000-0000-000000000001', 1.10),
    (2, 1.10, -5e-324, -1, '', false, NULL, NULL, '[]', '{}', NULL, NULL, 12345678.12345678);
"""
_ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "amount": 19.9,
        "share": 0.1,
        "big": 9007199254740993,
        "note": "Zo\u00eb",
        "paid": True,
        "data": {"a": [1, {"b": None}]},
        "tags": ["a", "b"],
        "code": "EUR",
        "uid": "00000000-0000-0000-0000-000000000001",
        "exact": 1.1,
    },
    {
        "id": 2,
        "amount": 1.1,
        "share": -5e-324,
        "big": -1,
        "note": "",
        "paid": False,
        "data": [],
        "tags": [],
        "code": None,
        "uid": None,
        "exact": 12345678.12345678,
    },
]


class Tap:
    """A tap in its environment.

    Args:
        environment: The environment's name, which is that of its lock.
        command: The tap's command.
        folder: The folder for its files.
    """

    def __init__(self, environment: str, command: str, folder: Path) -> None:
        self._command = Path(os.environ["TAPS"]) / environment / "bin" / command
        if not self._command.exists():
            pytest.skip(f"{environment} does not support this version of Python")
        self._folder = folder

    def output(self, config: Mapping[str, Any], *, discovers: bool = False) -> bytes:
        """Run it and return its messages; with discovery, every stream is selected first."""
        arguments = ["--config", self._file("config", config)]
        if discovers:
            catalog = json.loads(self._run(*arguments, "--discover"))
            for stream in catalog["streams"]:
                whole = next(each for each in stream["metadata"] if not each["breadcrumb"])
                whole["metadata"].update({"selected": True, "replication-method": "FULL_TABLE"})
            arguments += ["--catalog", self._file("catalog", catalog)]
        return self._run(*arguments)

    def _file(self, name: str, content: Any) -> str:
        path = self._folder / f"tap-{name}.json"
        path.write_text(json.dumps(content))
        return str(path)

    def _run(self, *arguments: str) -> bytes:
        # PYTHONPATH would put this project's modules before those of the tap
        return output_of(self._command, *arguments, environment=inherited("PYTHONPATH")).encode()


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """A database with one table; returns its connection settings."""
    with postgres(_TABLE) as reached:
        yield reached


def rows(load: Loader) -> list[dict[str, Any]]:
    """Return the delivered rows sorted by id, without times, which taps write differently."""
    for each in load.records:
        assert each.keys() >= {"at", "day"}
    left = [
        {name: value for name, value in each.items() if name not in {"at", "day"}}
        for each in load.records
    ]
    return sorted(left, key=lambda each: int(each["id"]))


def test_pipelinewise_tap_postgres(load: Loader, database: dict[str, str], tmp_path: Path) -> None:
    tap = Tap("pipelinewise-tap-postgres", "tap-postgres", tmp_path)
    names = ("host", "port", "user", "password")
    config = {**{name: database[name] for name in names}, "dbname": database["database"]}
    messages = tap.output({**config, "filter_schemas": "public"}, discovers=True)
    outcome = load(*messages.splitlines())
    assert rows(load) == _ROWS
    assert not load.reports
    assert "is ignored" not in outcome.log
    assert outcome.messages[-1]["currently_syncing"] is None


def test_meltanolabs_tap_postgres(load: Loader, database: dict[str, str], tmp_path: Path) -> None:
    tap = Tap("tap-postgres", "tap-postgres", tmp_path)
    config = {**database, "port": int(database["port"]), "filter_schemas": ["public"]}
    outcome = load(*tap.output(config, discovers=True).splitlines())
    assert rows(load) == _ROWS
    assert not load.reports
    assert "is ignored" not in outcome.log


@pytest.mark.parametrize(
    ("environment", "settings", "expected"),
    [
        (
            "pipelinewise-tap-postgres",
            {"filter_schemas": "public"},
            ["SCHEMA", "ACTIVATE_VERSION", "RECORD", "ACTIVATE_VERSION"],
        ),
        ("tap-postgres", {"filter_schemas": ["public"]}, ["SCHEMA", "RECORD"]),
        (
            "tap-postgres",
            {"filter_schemas": ["public"], "emit_activate_version_messages": True},
            ["SCHEMA", "ACTIVATE_VERSION", "RECORD"],
        ),
    ],
    ids=["pipelinewise-tap-postgres", "meltanolabs-tap-postgres", "with ACTIVATE_VERSION"],
)
def test_the_recipe_of_the_mirror_says_what_taps_write_for_a_full_table(
    environment: str,
    settings: dict[str, Any],
    expected: list[str],
    database: dict[str, str],
    tmp_path: Path,
) -> None:
    access = {**database, "port": int(database["port"]), "dbname": database["database"]}
    tap = Tap(environment, "tap-postgres", tmp_path)
    messages = map(json.loads, tap.output({**access, **settings}, discovers=True).splitlines())
    kinds = [each["type"] for each in messages if each["type"] != "STATE"]
    assert [kind for kind, _ in itertools.groupby(kinds)] == expected


def test_tap_jsonl(load: Loader, tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [
        {"id": 1, "amount": 1.1, "tags": ["a"], "at": "2024-01-02T03:04:05Z"},
        {"id": 2, "amount": None, "extra": {"a": [1, None]}, "note": "Zo\u00eb"},
    ]
    source = tmp_path / "orders.jsonl"
    source.write_text("".join(f"{json.dumps(each)}\n" for each in given))
    config = {"path": str(source), "stream_name": "orders", "primary_keys": ["id"]}
    outcome = load(*Tap("tap-jsonl", "tap-jsonl", tmp_path).output(config).splitlines())
    assert without_source(load, source) == given
    assert not load.reports
    assert list(outcome.messages[-1]["bookmarks"]) == ["orders"]


def test_tap_spreadsheets(load: Loader, tmp_path: Path) -> None:
    source = tmp_path / "orders.csv"
    source.write_text("id,amount,note\n1,1.10,Zo\u00eb\n2,,\n")
    file = {
        "path": str(source),
        "format": "csv",
        "table_name": "orders",
        "primary_keys": ["id"],
        "delimiter": ",",
        "quote_char": '"',
        "schema_overrides": {"amount": {"type": ["number", "null"]}},
    }
    tap = Tap("tap-spreadsheets", "tap-spreadsheets", tmp_path)
    load(*tap.output({"files": [file]}).splitlines())
    assert without_source(load, source) == [
        {"id": "1", "amount": 1.1, "note": "Zo\u00eb", "_sdc_worksheet": None},
        {"id": "2", "amount": None, "note": "", "_sdc_worksheet": None},
    ]
    assert not load.reports


def without_source(load: Loader, source: Path) -> list[dict[str, Any]]:
    """Return the delivered rows without the columns that name their file."""
    found = load.records
    for each in found:
        assert each.pop("_sdc_filename") == str(source)
        assert each.pop("_sdc_stream") == "orders"
        assert each.pop("_sdc_last_modified")
    return found
