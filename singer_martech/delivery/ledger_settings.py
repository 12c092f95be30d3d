"""The settings of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_martech.errors import SettingError
from singer_martech.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_martech.delivery.ledger import Ledger
    from singer_martech.delivery.ledger_store import LedgerStore
    from singer_martech.delivery.ledger_tables import Database

_SECONDS_PER_DAY = 86_400


def ledger_settings() -> list[th.Property[Any]]:
    """Declare the settings of the ledger."""
    return [
        th.Property(
            "ledger",
            th.StringType,
            description=(
                "Path of a SQLite file, or URL of a PostgreSQL database such as "
                "postgresql+psycopg://user:password@host/name (with the extra "
                "singer-martech[ledger]), that remembers what the vendor accepted last for each "
                "key. Unchanged records are not sent again. By default every record is sent."
            ),
        ),
        th.Property(
            "resend_after_days",
            th.NumberType(exclusive_minimum=0),
            description=(
                "Age in days after which an unchanged record is sent again. By default it is never "
                "sent again. Needs a ledger."
            ),
        ),
        th.Property(
            "ledger_reset",
            th.BooleanType,
            default=False,
            description="Remove each stream from the ledger before the stream is loaded.",
        ),
    ]


def check_ledger_settings(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each setting that needs a ledger, if there is none."""
    if not config.get("ledger"):
        for name in ("resend_after_days", "ledger_reset"):
            if config.get(name):
                yield f"setting '{name}' needs the setting 'ledger'"


def open_ledger(config: Mapping[str, Any]) -> Ledger | None:
    """Return the ledger of the settings, or None.

    Raises:
        SettingError: It cannot be opened.
    """
    location = config.get("ledger")
    if not location:
        return None
    from singer_martech.delivery.ledger import Ledger  # noqa: PLC0415 - rarely used

    days = config.get("resend_after_days")
    return Ledger(
        open_store(location, read_only=config["dry_run"]),
        resend_after_seconds=None if days is None else days * _SECONDS_PER_DAY,
        is_dry_run=config["dry_run"],
        reset=config["ledger_reset"],
    )


def _database(location: str, *, read_only: bool) -> Database:
    # sqlite3 and SQLAlchemy are loaded only when they are used
    if "://" in location:
        from singer_martech.delivery.ledger_database import SqlDatabase  # noqa: PLC0415

        return SqlDatabase(location)
    from singer_martech.delivery.ledger_sqlite import SqliteDatabase  # noqa: PLC0415

    return SqliteDatabase(location, read_only=read_only)


def open_store(location: str, *, read_only: bool = False, must_exist: bool = False) -> LedgerStore:
    """Open the ledger of the setting ``ledger``.

    Args:
        location: A path, or a database URL.
        read_only: Write nothing; without a file, the ledger is empty.
        must_exist: Create no tables in a database that has none.

    Raises:
        SettingError: It cannot be opened.
    """
    from singer_martech.delivery.ledger_store import LedgerStore  # noqa: PLC0415
    from singer_martech.delivery.ledger_tables import LedgerError  # noqa: PLC0415

    try:
        database = _database(location, read_only=read_only)
        try:
            return LedgerStore(database, must_exist=must_exist)
        except BaseException:
            database.close()
            raise
    except LedgerError as error:
        raise SettingError(f"setting 'ledger': {redact(str(error))}") from error
