"""The command ``target-monetate --check``."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_monetate.test_command import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.monetate import Monetate
    from tests.target_monetate.conftest import Loader


@pytest.fixture
def check(load: Loader, tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    def check(**settings: Any) -> tuple[int, list[str]]:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(load.settings(**settings)))
        result = subprocess.run(
            [COMMAND, "--config", str(path), "--check"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return result.returncode, result.stdout.splitlines()

    return check


STREAMS = {
    "orders": {"row": {"order_id": "{{ id }}", "customer_id": "{{ who }}"}},
    "crm_*": {"schema": "customer_attributes"},
    "raw_*": {"schema": "{{ stream }}"},
}


def test_login_datasets_and_fields_are_verified_without_writing(
    check: Any, monetate: Monetate
) -> None:
    status, lines = check(streams=STREAMS)
    assert lines == [
        "✓ settings",
        "✓ login",
        "✓ stream 'orders': dataset 'orders'",
        "✓ stream 'crm_*': dataset 'customer_attributes'",
    ]
    assert status == 0
    assert {request.method for request in monetate.requests} == {"GET"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"username": "api-9-other"}, "✗ login: .* check setting 'username'"),
        ({"retailer": "other"}, "✗ login: .* that 'retailer' is yours"),
        ({"streams": {"order": {}}}, "✗ stream 'order': Monetate .* did you mean 'orders'"),
        ({"streams": {"purchase_events": {}}}, "✗ stream 'purchase_events'.*'allow_append'"),
        ({"streams": {"privacy_requests": {}}}, "✗ stream 'privacy_requests'.*customer_data_priv"),
        (
            {"streams": {"orders": {"row": {"amuont": "{{ x }}"}}}},
            "✗ stream 'orders'.*'amuont', which .* did you mean 'amount'",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(check: Any, settings: dict[str, Any], said: str) -> None:
    status, lines = check(**settings)
    assert status == 1
    (failed,) = [line for line in lines if line.startswith("✗")]
    assert re.search(said, failed)


def test_a_wrong_api_url_is_named(check: Any, monetate: Monetate) -> None:
    status, lines = check(api_url=f"{monetate.api_url}/v2")
    assert status == 1
    assert lines[-1].endswith("; check setting 'api_url'")
