"""The command ``singer-martech-ledger``: show, remove and verify the content of a ledger."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from singer_martech.cli.command import CliGroup
from singer_martech.delivery.ledger_settings import open_store
from singer_martech.errors import MartechError
from singer_martech.runtime.escapes import escape_controls
from singer_martech.singer.command import require_output
from singer_martech.values.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_martech.delivery.ledger_store import LedgerStore
    from singer_martech.delivery.ledger_tables import Scope

_LEDGER = click.argument("ledger", envvar="SINGER_MARTECH_LEDGER")


@click.group(cls=CliGroup)
@click.version_option(package_name="singer-martech")
def main() -> None:
    """Show, remove and verify the content of a ledger.

    LEDGER is the value of the setting 'ledger' of a target: a path or a database URL. Give a URL
    with a password in the environment variable SINGER_MARTECH_LEDGER.
    """


@main.command()
@_LEDGER
def show(ledger: str) -> None:
    """List the destinations in LEDGER with counts and dates."""
    require_output()
    with _opened(ledger) as store:
        for summary in store.summaries():
            doubt = f", {summary.in_doubt:,} of them in doubt" if summary.in_doubt else ""
            dates = f", accepted from {_time(summary.first)} to {_time(summary.last)}"
            click.echo(
                escape_controls(
                    f"{summary.scope}: {counted(summary.entries, 'key')}{doubt}"
                    f"{dates if summary.first is not None else ''}"
                )
            )


@main.command()
@_LEDGER
@click.option("--target", metavar="NAME", help="Only of this target.")
@click.option("--account", metavar="TEXT", help="Only of an account whose text contains this.")
@click.option("--collection", metavar="NAME", help="Only of this dataset, import or arc class.")
@click.option("--stream", metavar="NAME", help="Only of this stream.")
@click.option("--all", "is_all", is_flag=True, help="All destinations.")
def forget(  # noqa: PLR0913 - each is an option
    ledger: str,
    *,
    target: str | None,
    account: str | None,
    collection: str | None,
    stream: str | None,
    is_all: bool,
) -> None:
    """Remove destinations from LEDGER, so that their records are sent again."""
    if is_all == any((target, account, collection, stream)):
        raise click.UsageError("give --target, --account, --collection or --stream, or --all")

    def matches(scope: Scope) -> bool:
        return (
            target in {None, scope.target}
            and (account is None or account in scope.account)
            and collection in {None, scope.collection}
            and stream in {None, scope.stream}
        )

    with _opened(ledger) as store:
        _forget(store, [scope for scope in store.scopes() if matches(scope)])


def _forget(store: LedgerStore, scopes: Sequence[Scope]) -> None:
    if not scopes:
        raise MartechError(f"{store.name} has no such destination; see the command show")
    for scope in scopes:
        store.lock(scope)
    for scope in scopes:
        count = store.forget(scope)
        click.echo(escape_controls(f"{scope}: {counted(count, 'key')} forgotten"))


@main.command()
@_LEDGER
def verify(ledger: str) -> None:
    """Check LEDGER for damage; the status is 1 if there is any."""
    with _opened(ledger) as store:
        problems = store.problems()
        for problem in problems:
            click.echo(escape_controls(problem), err=True)
        if problems:
            sys.exit(1)
        entries = sum(summary.entries for summary in store.summaries())
        click.echo(f"{counted(entries, 'key')}, no damage found")


@contextlib.contextmanager
def _opened(ledger: str) -> Iterator[LedgerStore]:
    """Open an existing ledger."""
    if "://" not in ledger and not os.path.lexists(Path(ledger).expanduser()):
        raise MartechError(f"{ledger} does not exist")
    store = open_store(ledger, must_exist=True)
    try:
        yield store
    finally:
        store.close()


def _time(seconds: int | None) -> str:
    moment = datetime.datetime.fromtimestamp(seconds or 0, datetime.timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
