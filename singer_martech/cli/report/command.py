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
from singer_martech.runtime.escapes import escape_controls
from singer_martech.singer.command import require_output


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
    """Write run summaries as one HTML page.

    RUN.json are files that targets write if the setting summary_path is set, or folders of
    them. The page needs no network and can be sent as it is; it holds the keys of some rejected
    records. A file that is not a run summary is named and skipped.
    """
    path = Path("/dev/stdout" if output == "-" else output)
    if private_files.open_descriptor(path) == private_files.STANDARD_OUTPUT:
        require_output()
    found, problems = read_runs(runs)
    for problem in problems:
        click.echo(f"left out: {escape_controls(problem)}", err=True)
    _write(render(found, problems), output)


def _write(page: str, output: str) -> None:
    if output == "-":
        sys.stdout.buffer.write(page.encode())  # the page says that it is UTF-8
        return
    try:
        private_files.replace(Path(output), page)
    except OSError as error:
        raise MartechError(f"{output} cannot be written: {error.strerror}") from error
    if private_files.open_descriptor(Path(output)) is None:
        click.echo(output)
