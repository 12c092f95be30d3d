"""The command ``singer-martech-report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from singer_martech.cli.command import CliCommand
from singer_martech.cli.report.page import render
from singer_martech.cli.report.runs import read_runs
from singer_martech.errors import MartechError
from singer_martech.runtime import private_files


@click.command(cls=CliCommand)
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN.json…",
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--output",
    default="report.html",
    show_default=True,
    metavar="FILE",
    help="The page to write; - writes to standard output.",
)
@click.version_option(package_name="singer-martech")
def main(runs: tuple[Path, ...], output: str) -> None:
    """Turn run summaries into one HTML page.

    RUN.json are the files that the targets write where the setting summary_path is set, or
    folders of them. The page needs no network and can be sent as it is; it holds the keys of
    some rejected records.
    """
    try:
        page = render(read_runs(runs))
    except MartechError as error:
        raise click.ClickException(str(error)) from error
    if output == "-":
        sys.stdout.write(page)
        return
    try:
        private_files.replace(Path(output), page)
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror}"
        raise click.ClickException(message) from error
    click.echo(output)
