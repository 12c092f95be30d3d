"""The pipelines of `meltano.yml`, and the records that they loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.pipelines.meltano import MeltanoProject
    from tests.sandbox.server import Sandbox

    Record = dict[str, Any]
    Reader = Callable[[Sandbox, MeltanoProject], list[Record]]


@dataclass(frozen=True)
class Pipeline:
    """A job of `meltano.yml`.

    Attributes:
        job: Its name.
        tap: The tap's name.
        target: The target's name.
        destination: Where its records are loaded, for display.
        loaded: Returns the loaded records, in order of arrival.
    """

    job: str
    tap: str
    target: str
    destination: str
    loaded: Reader


def rows(database: Path, table: str) -> list[Record]:
    """Return the rows of a table in a DuckDB database; none if the table does not exist."""
    if not database.exists():
        return []
    with duckdb.connect(str(database), read_only=True) as connection:
        try:
            found = connection.execute(f"SELECT * FROM {table} ORDER BY _sdc_batched_at")  # noqa: S608 - table names of the tests
        except duckdb.CatalogException:
            return []
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _events(_: Sandbox, project: MeltanoProject) -> list[Record]:
    return rows(project.warehouse, "tap_robotmia.events")


def _mona(sandbox: Sandbox, _: MeltanoProject) -> list[Record]:
    records = sandbox.mona.records()
    return [record for (arc_class, _), record in records.items() if arc_class == "SHOP_EVENT"]


def _activities(sandbox: Sandbox, _: MeltanoProject) -> list[Record]:
    return sandbox.mediarithmics.activities()


def _customers(sandbox: Sandbox, _: MeltanoProject) -> list[Record]:
    return sandbox.monetate.rows("customer_attributes")


def _orders(sandbox: Sandbox, _: MeltanoProject) -> list[Record]:
    return sandbox.monetate.rows("orders")


PIPELINES = (
    Pipeline(
        "robotmia-to-duckdb",
        "tap-robotmia",
        "target-duckdb",
        "DuckDB: tap_robotmia.events",
        _events,
    ),
    Pipeline(
        "robotmia-to-mona",
        "tap-robotmia",
        "target-mona",
        "Mona: SHOP_EVENT",
        _mona,
    ),
    Pipeline(
        "robotmia-to-mediarithmics",
        "tap-robotmia",
        "target-mediarithmics",
        "mediarithmics: user activities",
        _activities,
    ),
    Pipeline(
        "mediarithmics-to-monetate",
        "tap-mediarithmics",
        "target-monetate",
        "Monetate: customer_attributes",
        _customers,
    ),
    Pipeline(
        "warehouse-to-monetate",
        "tap-spreadsheets",
        "target-monetate",
        "Monetate: orders",
        _orders,
    ),
)
