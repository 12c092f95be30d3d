"""A table, `meltano run` with a real SQL tap, and a segment that follows the table."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.processes import inherited, output_of
from tests.pipelines.meltano import MELTANO, sandbox_settings
from tests.pipelines.postgres import connected, postgres

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.mediarithmics import Mediarithmics
    from tests.sandbox.server import Sandbox

_ROWS, _CHANGED, _REMOVED = 10_000, 100, 50
_TABLE = """
CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL, minutes integer NOT NULL);
INSERT INTO people SELECT n, 'p' || n || '@shop.example', 60 FROM generate_series(1, 10000) n;
"""
_MAPPING = {
    "document_type": "USER_SEGMENT",
    "document": {
        "operation": "UPDATE",
        "email_hash": "{{ email | sha256 }}",
        "segment_technical_name": "vip",
        "expiration_duration": "{{ minutes }}",
    },
    "mirror": True,
}


def project(folder: Path, access: Mapping[str, str]) -> None:
    """Write a Meltano project with the tap of its environment and the installed target."""
    tap = Path(os.environ["TAPS"]) / "pipelinewise-tap-postgres" / "bin" / "tap-postgres"
    if not tap.exists():
        pytest.skip("pipelinewise-tap-postgres does not support this version of Python")
    config = {name: access[name] for name in ("host", "port", "user", "password")}
    config |= {"dbname": access["database"], "filter_schemas": "public"}
    names = ("ledger", "streams", "api_url", "api_token", "datamart_id", "poll_interval_seconds")
    plugins = {
        "extractors": [
            {
                "name": "tap-postgres",
                "namespace": "tap_postgres",
                "executable": str(tap),
                "capabilities": ["catalog", "discover", "state"],
                "settings": [{"name": name} for name in config],
                "config": config,
                "select": ["public-people.*"],
                "metadata": {"public-people": {"replication-method": "FULL_TABLE"}},
            }
        ],
        "loaders": [
            {
                "name": "target-mediarithmics",
                "namespace": "target_mediarithmics",
                "executable": str(Path(sys.executable).with_name("target-mediarithmics")),
                "settings": [{"name": name} for name in names],
                "config": {
                    "ledger": str(folder / "ledger.db"),
                    "streams": {"public-people": _MAPPING},
                    "poll_interval_seconds": 0.05,
                },
            }
        ],
    }
    meltano = {
        "default_environment": "test",
        "environments": [{"name": "test"}],
        "plugins": plugins,
    }
    (folder / "meltano.yml").write_text(json.dumps(meltano))


@pytest.fixture
def vendor(sandbox: Sandbox) -> Mediarithmics:
    return sandbox.mediarithmics


def run(folder: Path, sandbox: Sandbox) -> str:
    outside = inherited("MELTANO_", "TAP_", "TARGET_", "PYTHON", "VIRTUAL_ENV")
    environment = {
        **outside,
        **sandbox_settings(sandbox),
        "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    command = (MELTANO, "run", "tap-postgres", "target-mediarithmics")
    return output_of(*command, folder=folder, environment=environment, with_errors=True)


@pytest.mark.timeout(300)
def test_a_segment_follows_a_table_with_two_small_requests(
    sandbox: Sandbox, vendor: Mediarithmics, tmp_path: Path
) -> None:
    with postgres(_TABLE) as access:
        project(tmp_path, access)
        run(tmp_path, sandbox)
        assert len(vendor.members("vip")) == len(vendor.documents()) == _ROWS

        uploads = len(vendor.import_executions())
        with connected(access) as connection:
            connection.execute("UPDATE people SET minutes = 90 WHERE id <= %s", (_CHANGED,))
            connection.execute("DELETE FROM people WHERE id > %s", (_ROWS - _REMOVED,))
        output = run(tmp_path, sandbox)
        sent = vendor.documents()[_ROWS:]
        changes, deletions = sent[:_CHANGED], sent[_CHANGED:]
        assert len(vendor.import_executions()) == uploads + 2
        assert {each["operation"] for each in changes} == {"UPDATE"}
        assert {each["expiration_duration"] for each in changes} == {90}
        assert len(deletions) == _REMOVED
        assert {each["operation"] for each in deletions} == {"DELETE"}
        members = vendor.members("vip")
        assert len(members) == _ROWS - _REMOVED
        assert list(members.values()).count(90) == _CHANGED
        assert f'"unchanged": {_ROWS - _CHANGED - _REMOVED}' in output
        assert f"the mirror deleted {_REMOVED} key(s)" in output

        run(tmp_path, sandbox)
        assert len(vendor.import_executions()) == uploads + 2
        assert vendor.members("vip") == members
