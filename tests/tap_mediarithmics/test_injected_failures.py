"""After an exception between download and bookmark, STATE covers written records only."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from tap_mediarithmics.tap import TapMediarithmics
from tests.tap_mediarithmics.conftest import Output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from tests.sandbox.mediarithmics import Mediarithmics

pytestmark = [
    pytest.mark.usefixtures("garbage_is_collected"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""An error between opening a file and keeping it leaves the file to the garbage collector."""

MODULES = ("/tap_mediarithmics/", "/singer/stream.py", "/singer/writer.py")
BEGIN, END = "download", "_write_state_message"
FAILURES = (RuntimeError, MemoryError, OSError, KeyboardInterrupt, RecursionError, SystemExit)
ROWS = (3, 1, 2)


class Injector:
    """Raises an exception at one call of the code under test.

    Calls are counted from the first download on. With ``at`` 0 they are only counted.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0
        self._is_counting = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not any(part in code.co_filename for part in MODULES):
            return
        self._is_counting = self._is_counting or code.co_name == BEGIN
        if not self._is_counting:
            return
        self.calls += 1
        if self.calls == self.at:
            failure = FAILURES[self.at % len(FAILURES)]
            raise failure(f"injected at {code.co_name}")

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


class Case:
    """A stream with a result for each number of rows."""

    def __init__(self, vendor: Mediarithmics, config: dict[str, Any], lines: Any) -> None:
        export = vendor.add_export("Things", "SELECT { id } FROM UserPoint")
        self.expected = {}
        for number, count in enumerate(ROWS):
            rows = [{"id": f"{number}-{row}", "new": row % 2 or None} for row in range(count)]
            created = 1_700_000_000_000 + number
            execution = vendor.add_execution(export, created=created, files=[lines(*rows)])
            self.expected[execution] = {row["id"] for row in rows}
        schema = {"type": "object", "properties": {"id": {"type": "string"}}}
        item = {"stream": "things", "export_id": export, "mode": "all", "schema": schema}
        self.settings = {**config, "exports": [item]}
        catalog = TapMediarithmics(config=self.settings, setup_mapper=False).catalog_dict
        streams = [each for each in catalog["streams"] if each["tap_stream_id"] == "things"]
        self.catalog = {"streams": streams}

    def run(self, state: dict[str, Any] | None, injector: Injector) -> Output:
        """Run the tap and return its output, also after a failure."""
        written = io.TextIOWrapper(io.BytesIO(), write_through=True)
        tap = TapMediarithmics(config=self.settings, catalog=self.catalog, state=state)
        with (
            contextlib.redirect_stdout(written),
            contextlib.suppress(MartechError, *FAILURES),
            injector.active(),
        ):
            tap.sync_all()
        data = written.buffer
        assert isinstance(data, io.BytesIO)
        return Output(data.getvalue().decode())

    def check(self, output: Output) -> set[str]:
        """Check each STATE against the records before it; return the ids that were written."""
        written: set[str] = set()
        for message in output.messages:
            if message["type"] == "RECORD":
                written.add(message["record"]["id"])
            elif message["type"] == "STATE":
                entry = message["value"].get("bookmarks", {}).get("things", {}).get("execution")
                for execution, ids in self.expected.items() if entry else ():
                    if int(execution) <= int(entry["id"]):
                        assert ids <= written
        return written


@pytest.fixture
def case(vendor: Mediarithmics, config: dict[str, Any], lines: Any) -> Case:
    return Case(vendor, config, lines)


# An exception raised while a generator is closed is ignored by Python.
def test_after_an_exception_state_covers_written_records_only(case: Case) -> None:
    counted = Injector(0)
    everything = set().union(*case.expected.values())
    assert case.check(case.run(None, counted)) == everything
    assert counted.calls > 50
    for at in range(1, counted.calls + 1):
        injector = Injector(at)
        first = case.run(None, injector)
        assert injector.calls >= at
        before = case.check(first)
        again = case.run(first.state or None, Injector(0))
        records = {each["record"]["id"] for each in again.messages if each["type"] == "RECORD"}
        assert before | records == everything, (at, first.state)
