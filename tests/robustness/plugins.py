"""The five plugins, each with settings for the sandbox and an input that uses all features."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_mediarithmics.tap import TapMediarithmics
from tap_robotmia.tap import TapRobotmia
from target_mediarithmics.target import TargetMediarithmics
from target_mona.target import TargetMona
from target_monetate.target import TargetMonetate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from singer_martech.singer.plugin import MartechPlugin
    from tests.sandbox.server import Sandbox

#: Settings that end a failing run soon.
IMPATIENT: Mapping[str, Any] = {
    "max_attempts": 1,
    "max_rate_limit_wait_seconds": 0,
    "request_timeout_seconds": 5,
}


@dataclass(frozen=True)
class Plugin:
    """One plugin.

    Attributes:
        name: Its console script.
        plugin: Its class.
        vendor: Its vendor in the sandbox.
        settings: Returns settings for the sandbox.
        messages: The input of a target.
        delivered: Returns the number of records that the vendor accepted; None for a tap.
    """

    name: str
    plugin: type[MartechPlugin]
    vendor: str
    settings: Callable[[Sandbox], dict[str, Any]]
    messages: Sequence[Mapping[str, Any]] = ()
    delivered: Callable[[Sandbox], int] | None = None

    @property
    def is_tap(self) -> bool:
        """Whether it is a tap."""
        return self.delivered is None

    @property
    def secrets(self) -> list[str]:
        """The names of its secret settings."""
        properties = self.plugin.config_jsonschema["properties"]
        return [name for name, definition in properties.items() if definition.get("secret")]

    @property
    def input(self) -> bytes:
        """The messages as lines."""
        return b"".join(json.dumps(message).encode() + b"\n" for message in self.messages)

    def __str__(self) -> str:
        """Return the name, as the test id."""
        return self.name


@dataclass(frozen=True)
class Outcome:
    """The result of a run within this process."""

    status: int
    out: bytes
    log: str

    @property
    def reason(self) -> str:
        """The error line of a failed run."""
        lines = [line for line in self.log.splitlines() if "| ERROR " in line]
        assert len(lines) == 1, self.log
        return lines[0]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that a tap wrote."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def records(self) -> list[tuple[str, Any]]:
        """Stream and record of each RECORD message."""
        return [
            (each["stream"], each["record"]) for each in self.messages if each["type"] == "RECORD"
        ]

    def check(self, cause: str = "") -> None:
        """Assert that it succeeded, or failed with one line and without a traceback.

        Args:
            cause: A pattern that the line of a failed run must match.
        """
        assert "Traceback" not in self.log, self.log
        assert self.status in {0, 1}, self.log
        if self.status == 1:
            assert re.search(cause, self.reason), self.reason


def run(
    plugin: Plugin,
    config: Any,
    folder: Path,
    *arguments: str,
    data: bytes | None = None,
    state: Any = None,
    catalog: Any = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a plugin's command within this process.

    An unexpected exception is raised, although the command would log it in one line.
    """
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    line = ["--config", _file(folder, "config", text), *arguments]
    for option, value in (("state", state), ("catalog", catalog)):
        if value is not None:
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            line += [f"--{option}", _file(folder, option, content)]
    source = folder / "input"
    source.write_bytes(plugin.input if data is None else data)
    with (
        _process_restored(),
        mock.patch.dict(os.environ, environment or {}),
        source.open() as sys.stdin,
    ):
        sys.stdout, out = _text_file()
        sys.stderr, log = _text_file()
        with pytest.raises(SystemExit) as ended:
            plugin.plugin.cli.main(line)
    code = ended.value.code
    status = code if isinstance(code, int) else int(code is not None)
    return Outcome(status, out.getvalue(), log.getvalue().decode())


class _Kept(io.BytesIO):
    """A file that stays open, because a command closes its output at the end."""

    def close(self) -> None:
        """Stay open."""


def _text_file() -> tuple[io.TextIOWrapper, io.BytesIO]:
    content = _Kept()
    return io.TextIOWrapper(content, encoding="utf-8", write_through=True), content


def _file(folder: Path, name: str, content: bytes) -> str:
    path = folder / f"{name}.json"
    path.write_bytes(content)
    return str(path)


@contextmanager
def _process_restored() -> Iterator[None]:
    """Restore signals, hooks, streams and logging, which a command changes."""
    streams = sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hooks, root = (sys.excepthook, threading.excepthook), logging.getLogger()
    log_handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.excepthook, threading.excepthook = hooks
        sys.stdin, sys.stdout, sys.stderr = streams
        logging.captureWarnings(capture=False)
        root.handlers[:] = log_handlers
        root.setLevel(level)


def _schema(stream: str, keys: Sequence[str] = ("id",)) -> dict[str, Any]:
    properties = {"id": {"type": "string"}, "n": {"type": ["integer", "null"]}}
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": properties},
        "key_properties": list(keys),
    }


def _messages(stream: str) -> list[dict[str, Any]]:
    records = [
        {"type": "RECORD", "stream": stream, "record": {"id": f"k{n}", "n": n}} for n in range(5)
    ]
    return [_schema(stream), *records, {"type": "STATE", "value": {"bookmarks": {"n": 5}}}]


def _robotmia(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.robotmia.set_events(
        {
            "event": "Login",
            "properties": {"time": 1_704_103_200 + n, "$insert_id": f"i{n}", "n": n},
        }
        for n in range(5)
    )
    span = {"start_date": "2024-01-01", "end_date": "2024-01-02"}
    return {**sandbox.robotmia.credentials(), **span, "event_streams": ["Login"], **IMPATIENT}


def _tap_mediarithmics(sandbox: Sandbox) -> dict[str, Any]:
    vendor = sandbox.mediarithmics
    points = [{"id": f"u{n}", "creation_ts": 1_700_000_000_000 + n} for n in range(5)]
    vendor.set_objects("UserPoint", points)
    export = vendor.add_export("Things", "SELECT { id } FROM UserPoint")
    vendor.add_execution(export, created=1_700_000_000_000, files=[b'{"id":"a"}\n{"id":"b"}\n'])
    query = "SELECT { id creation_ts } FROM UserPoint WHERE creation_ts >= {start}"
    return {
        **vendor.credentials(),
        **IMPATIENT,
        "poll_interval_seconds": 0.01,
        "execution_timeout_seconds": 2,
        "start_date": "2020-01-01",
        "exports": [
            {"stream": "users", "query": query, "replication_key": "creation_ts"},
            {"stream": "things", "export_id": export},
        ],
    }


def _target_mediarithmics(sandbox: Sandbox) -> dict[str, Any]:
    credentials = sandbox.mediarithmics.credentials()
    del credentials["organisation_id"]
    document = {"operation": "UPSERT", "user_account_id": "{{ id }}", "user_profile": {"n": 1}}
    return {
        **credentials,
        **IMPATIENT,
        "poll_interval_seconds": 0.01,
        "execution_timeout_seconds": 2,
        "streams": {"*": {"document_type": "USER_PROFILE", "document": document}},
    }


def _monetate(sandbox: Sandbox) -> dict[str, Any]:
    key = {"data_type": "STRING", "identifier": True, "unique_key": True}
    sandbox.monetate.add_dataset("people", {"id": key, "n": "NUMBER"})
    return {**sandbox.monetate.credentials(), **IMPATIENT}


PLUGINS = (
    Plugin("tap-robotmia", TapRobotmia, "robotmia", _robotmia),
    Plugin("tap-mediarithmics", TapMediarithmics, "mediarithmics", _tap_mediarithmics),
    Plugin(
        "target-mona",
        TargetMona,
        "mona",
        lambda sandbox: {**sandbox.mona.credentials(), **IMPATIENT},
        _messages("people"),
        lambda sandbox: len(sandbox.mona.messages()),
    ),
    Plugin(
        "target-monetate",
        TargetMonetate,
        "monetate",
        _monetate,
        _messages("people"),
        lambda sandbox: len(sandbox.monetate.rows("people")),
    ),
    Plugin(
        "target-mediarithmics",
        TargetMediarithmics,
        "mediarithmics",
        _target_mediarithmics,
        _messages("people"),
        lambda sandbox: len(sandbox.mediarithmics.documents()),
    ),
)
TAPS = tuple(plugin for plugin in PLUGINS if plugin.is_tap)
TARGETS = tuple(plugin for plugin in PLUGINS if not plugin.is_tap)
