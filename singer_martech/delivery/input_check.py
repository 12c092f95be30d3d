"""The checks of ``--check --input FILE``: mappings against the SCHEMA messages of a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigValidationError

from singer_martech.errors import MartechError, Stopped
from singer_martech.singer.command import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class InputCheck:
    """Checks SCHEMA messages, each problem in a line of its own."""

    def __init__(
        self,
        messages: Sequence[dict[str, Any]],
        process: Callable[[dict[str, Any]], object],
    ) -> None:
        self._messages = messages
        self._process = process
        self._problems: list[str] = []

    def report(self, problem: str) -> None:
        """Add a problem to the check that runs."""
        self._problems.append(problem)

    def checks(self, conclude: Callable[[], object]) -> Iterator[Check]:
        """Yield a check for each message, and one for the streams that the settings name."""
        for message in self._messages:
            label, process = f"stream '{message.get('stream')}'", partial(self._process, message)
            yield Check(label, partial(self._run, process))
        if self._messages:
            yield Check("streams of the mappings", partial(self._run, conclude))

    def _run(self, run: Callable[[], object]) -> None:
        self._problems.clear()
        try:
            run()
        except Stopped:
            raise
        except MartechError as error:
            self._problems.append(str(error))
        if self._problems:
            raise ConfigValidationError("; ".join(self._problems), errors=[*self._problems])
