"""What the targets take to load a stream, beside a plain sink."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ledger import LedgerLoads
from bench.measure import Comparison, Subject, config_file, tool
from bench.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.inputs import Inputs
    from bench.stream_input import StreamInput

_PLAIN = Path(__file__).parent / "subjects" / "plain_target.py"
_SLOW = 100
_PARALLEL = 4


class Loads:
    """Builds the commands that load the streams.

    Args:
        folder: The folder for configurations.
        server: The address of the local server.
        inputs: The input files.
    """

    def __init__(self, folder: Path, server: str, inputs: Inputs) -> None:
        """Create a builder; nothing is written yet."""
        self._folder = folder
        self._server = server
        self._inputs = inputs

    def comparisons(self) -> Iterator[Comparison]:
        """Yield a comparison for each stream, one with a slow server, and those with a ledger."""
        for stream in STREAMS:
            yield Comparison(f"Load {stream.title}", "records", [*self._targets(stream)])
        flat = STREAMS[0]
        subjects = [
            self._target("target-mona", self._mona(flat, _SLOW), flat),
            self._target("target-monetate", self._monetate(flat, _SLOW), flat),
            self._plain(flat),
        ]
        yield Comparison(f"Load {flat.title}, answers after {_SLOW} ms", "records", subjects)
        ledgers = LedgerLoads(self._folder)
        for name, config in self._configs(flat):
            yield ledgers.comparison(self._target(name, config, flat), config)

    def _targets(self, stream: StreamInput) -> Iterator[Subject]:
        for name, config in self._configs(stream):
            yield replace(self._target(name, config, stream), aim=stream.aims[name])
        yield self._plain(stream)

    def _configs(self, stream: StreamInput) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "target-mona", self._mona(stream)
        yield "target-monetate", self._monetate(stream)
        yield "target-mediarithmics", self._mediarithmics(stream)

    def _target(self, name: str, config: Mapping[str, Any], stream: StreamInput) -> Subject:
        command = [tool(name), "--config", config_file(self._folder, config)]
        return Subject(name, command, self._inputs.count(stream), self._inputs.messages(stream))

    def _plain(self, stream: StreamInput) -> Subject:
        command = [sys.executable, str(_PLAIN), "--config", config_file(self._folder, {})]
        return Subject(
            "plain singer-sdk sink that sends nothing",
            command,
            self._inputs.count(stream, plain=True),
            self._inputs.messages(stream, plain=True),
        )

    def _mona(self, stream: StreamInput, milliseconds: int = 0) -> dict[str, Any]:
        mapping = {} if stream.message is None else {"message": stream.message}
        return {**mona_config(self._server, milliseconds), "streams": {stream.name: mapping}}

    def _monetate(self, stream: StreamInput, milliseconds: int = 0) -> dict[str, Any]:
        key = self._folder / "bench-key.pem"
        if not key.exists():
            key.write_bytes(_new_private_key())
        return {
            "api_url": f"{self._server}/{milliseconds}/monetate",
            "retailer": "bench",
            "username": "api-bench",
            "private_key_path": str(key),
            "parallel_requests": _PARALLEL,
            "streams": {stream.name: {} if stream.row is None else {"row": stream.row}},
        }

    def _mediarithmics(self, stream: StreamInput) -> dict[str, Any]:
        mapping = {"document_type": "USER_PROFILE", "document": stream.document}
        return {
            "api_url": f"{self._server}/mediarithmics",
            "api_token": "api:bench",
            "datamart_id": "1",
            "streams": {stream.name: mapping},
        }


def mona_config(server: str, milliseconds: int = 0) -> dict[str, Any]:
    """Return the settings of target-mona for the local server."""
    return {
        "api_url": f"{server}/{milliseconds}/mona",
        "user_id": "bench",
        "access_token": "bench-token",
        "parallel_requests": _PARALLEL,
    }


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - only here

    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
