"""Base classes of the commands: any error is one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from singer_martech._compat import override
from singer_martech.errors import MartechError
from singer_martech.runtime.escapes import escape_controls
from singer_martech.singer.command import discard_unwritten_output, output_errors

if TYPE_CHECKING:
    from collections.abc import Iterator


class CliCommand(click.Command):
    """A command that reports any error in one line, also if its output cannot be written."""

    @override
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _one_line():  # --help and --version write
            return super().make_context(*args, **kwargs)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)


class CliGroup(CliCommand, click.Group):
    """A group of commands; see :class:`CliCommand`."""


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        with output_errors():
            yield
    except MartechError as error:
        discard_unwritten_output()
        raise click.ClickException(escape_controls(str(error))) from error
