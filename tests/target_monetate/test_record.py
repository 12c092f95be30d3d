from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.errors import MartechError
from target_monetate.rate_limit import folder
from tests.target_monetate.test_auth import client_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox
    from tests.target_monetate.conftest import Loader

COMMAND = str(Path(sys.executable).with_name("target-monetate-record"))
SPOT_CHECKS = r"/data/\w+/$"


@pytest.fixture
def start(load: Loader, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    def run(record_id: str, schema: str = "customer_attributes", **settings: Any) -> Any:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(load.settings(**settings)))
        return subprocess.Popen(
            [COMMAND, "--config", str(path), "--schema", schema, "--id", record_id],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )

    return run


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def stored(load: Loader) -> None:
    load.rows(
        {
            "customer_id": "c-1",
            "email": "ann@example.com",
            "loyalty_points": 12345678901234567890,
            "newsletter": True,
            "interests": ["a", "b, c"],
        }
    )


@pytest.mark.usefixtures("stored")
def test_a_record_is_printed_with_the_types_of_its_fields(start: Any) -> None:
    status, out, err = finish(start("c-1"))
    assert (status, err) == (0, "")
    lines = [line.split(None, 1) for line in out.splitlines()]
    assert lines[0][0] == "FIELD"
    printed = {name: " ".join(rest.split()) for name, rest in lines}
    assert printed["customer_id"] == 'STRING, identifier, unique key "c-1"'
    assert printed["email"] == 'STRING "ann@example.com"'
    assert printed["loyalty_points"] == "NUMBER 12345678901234567890"
    assert printed["newsletter"] == "BOOLEAN true"
    assert printed["interests"] == 'MULTI_STRING "a,\\"b, c\\""'
    assert printed["last_order_at"] == "DATETIME null"
    assert len(lines) == 11


@pytest.mark.usefixtures("stored")
def test_invocations_at_once_send_one_request_a_second(start: Any, monetate: Monetate) -> None:
    processes = [start("c-1") for _ in range(3)]
    assert [finish(process)[0] for process in processes] == [0, 0, 0]
    checks = monetate.requests_to(SPOT_CHECKS, "GET")
    assert [check.status for check in checks] == [200, 200, 200]
    starts = sorted(check.started for check in checks)
    assert all(later - sooner >= 1 for sooner, later in itertools.pairwise(starts))


def test_a_missing_record_is_named(start: Any) -> None:
    status, out, err = finish(start("c-9"))
    assert (status, out) == (1, "")
    assert err == "the dataset 'customer_attributes' has no record with the id 'c-9'\n"


def test_a_missing_dataset_is_named(start: Any, monetate: Monetate) -> None:
    status, out, err = finish(start("c-1", schema="customer_attribute"))
    assert (status, out) == (1, "")
    assert "no dataset 'customer_attribute'; there are: " in err
    assert "did you mean 'customer_attributes'?" in err
    assert not monetate.requests_to(SPOT_CHECKS)


def test_settings_are_checked_as_for_the_target(start: Any, monetate: Monetate) -> None:
    status, _, err = finish(start("c-1", private_key="hunter2hunter2", token_ttl_seconds=900))
    assert status == 1
    assert err.startswith("setting 'private_key' is not a private key in PEM form")
    assert len(err.splitlines()) == 1
    assert "hunter2" not in err
    assert finish(start("c-1", token_ttl_seconds=60))[2].startswith(
        "setting 'token_ttl_seconds' must be at least 900"
    )
    assert not monetate.requests


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 429, "retry_after": 1}, "still rate-limited"),
        ({"status": 503}, "status 503"),
        ({"impostor": "captive portal"}, "is an HTML page, not the vendor's"),
        ({"impostor": "empty object"}, "is not Monetate's"),
        ({"status": 401}, "status 401"),
        ({"reset": "before"}, "gave up after 1 attempt"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("stored")
def test_a_spot_check_is_sent_once_with_any_result(
    start: Any, monetate: Monetate, sandbox: Sandbox, fault: dict[str, Any], said: str
) -> None:
    sandbox.faults.add("monetate", "/data/customer", method="GET", times=None, **fault)
    status, out, err = finish(start("c-1"))
    assert (status, out) == (1, "")
    assert said in err
    assert len(monetate.requests_to(SPOT_CHECKS, "GET")) == 1


@pytest.mark.parametrize(
    "data",
    [
        {"schema_rows": [{"order_id": "1", "amount": 1.10}]},
        [{"order_id": "1", "amount": 1.10}],
        {"order_id": "1", "amount": 1.10},
    ],
)
def test_a_record_is_found_in_any_likely_form_of_the_response(
    monetate: Monetate, sandbox: Sandbox, data: Any
) -> None:
    sandbox.faults.add("monetate", "/data/orders/", status=200, body={"meta": {}, "data": data})
    assert client_of(monetate).record("orders", "1") == {"order_id": "1", "amount": Decimal("1.1")}


@pytest.mark.parametrize("data", [{"schema_rows": []}, [], None])
def test_a_response_without_record_is_none(monetate: Monetate, sandbox: Sandbox, data: Any) -> None:
    sandbox.faults.add("monetate", "/data/orders/", status=200, body={"meta": {}, "data": data})
    assert client_of(monetate).record("orders", "1") is None


def test_the_lock_file_is_in_a_folder_that_only_the_user_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chosen = folder()
    assert chosen == tmp_path / "cache" / "singer-martech"
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    chosen.chmod(0o777)
    with pytest.raises(MartechError, match="is not yours alone; set XDG_CACHE_HOME"):
        folder()


def test_settings_come_from_the_environment(load: Loader, tmp_path: Path) -> None:
    load.rows({"customer_id": "c-1", "email": "ann@example.com"})
    settings = load.settings().items()
    result = subprocess.run(
        [COMMAND, "--config", "ENV", "--schema", "customer_attributes", "--id", "c-1"],
        env={
            **os.environ,
            **{f"TARGET_MONETATE_{name.upper()}": str(value) for name, value in settings},
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert '"ann@example.com"' in result.stdout


def test_control_characters_are_not_printed(start: Any, load: Loader) -> None:
    load.rows({"customer_id": "c-2", "email": "\x1b[31mred\x7f"})
    assert '"\\u001b[31mred\\u007f"' in finish(start("c-2"))[1]
