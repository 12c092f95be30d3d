"""With ``batch_config``, the lines of a result go into files that BATCH messages announce."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tap_mediarithmics.tap import TapMediarithmics

if TYPE_CHECKING:
    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.tap_mediarithmics.conftest import Output


def records(output: Output) -> list[dict[str, Any]]:
    """Return the records in the files that BATCH messages of stream ``a/b ü`` name."""
    return [
        json.loads(line, parse_float=Decimal)
        for message in output.messages
        if message["type"] == "BATCH" and message["stream"] == "a/b ü"
        for address in message["manifest"]
        for line in gzip.decompress(Path(unquote(urlsplit(address).path)).read_bytes()).splitlines()
    ]


def test_files_hold_the_records_of_each_execution_before_its_state(
    vendor: Mediarithmics, config: dict[str, Any], sync: Any, tmp_path: Path
) -> None:
    export = vendor.add_export("Things", "SELECT { id } FROM UserPoint")
    vendor.add_execution(export, files=[b'{"id":"a","n":1.10}\n\n{"id":"b"}\n', b'{"id":7}'])
    vendor.add_execution(export, files=[b'{"id":"c","other":{"x":1e2}}\n'])
    config["exports"] = [{"stream": "a/b ü", "export_id": export, "mode": "all"}]
    plain = sync(config)
    root = tmp_path / "batches"
    encoding = {"format": "jsonl", "compression": "gzip"}
    run = sync({**config, "batch_config": {"encoding": encoding, "storage": {"root": str(root)}}})
    assert records(run) == plain.records("a/b ü")
    assert [record["id"] for record in records(run)] == ["a", "b", "7", "c"]
    assert run.state == plain.state
    kinds = [each["type"] for each in run.messages if each["type"] in {"BATCH", "STATE"}]
    assert kinds == ["BATCH", "STATE"] * 2
    assert len(list(root.iterdir())) == 2


def test_the_message_of_a_file_has_the_version_of_a_table_that_is_read_in_full(
    config: dict[str, Any], sync: Any, tmp_path: Path
) -> None:
    config = {**config, "exports": [], "emit_activate_version_messages": True}
    catalog = TapMediarithmics(config=config, setup_mapper=False).catalog_dict
    for stream in catalog["streams"]:
        stream["metadata"][-1]["metadata"]["selected"] = stream["tap_stream_id"] == "exports"
    storage = {"root": str(tmp_path / "batches")}
    config["batch_config"] = {"encoding": {"format": "jsonl"}, "storage": storage}
    output = sync(config, catalog=catalog)
    versions = {each["type"]: each["version"] for each in output.messages if "version" in each}
    assert set(versions) == {"ACTIVATE_VERSION", "BATCH"}
    assert len(set(versions.values())) == 1
