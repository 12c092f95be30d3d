"""The command as a pipeline runs it: exit status, standard error, STATE."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from singer_sdk.exceptions import ConfigValidationError

from target_monetate.target import TargetMonetate
from tests.target_monetate.conftest import (
    KEY,
    as_input,
    record_message,
    schema_message,
    state_message,
)
from tests.target_monetate.test_private_key import PASSPHRASE, PKCS1, PKCS8, pem, public_pem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.monetate import Monetate
    from tests.sandbox.server import Sandbox
    from tests.target_monetate.conftest import Loader

COMMAND = str(Path(sys.executable).with_name("target-monetate"))
ORDERS = schema_message("orders", {"order_id": KEY, "customer_id": KEY}, ["order_id"])
MESSAGES = as_input(
    [ORDERS, record_message("orders", order_id="1", customer_id="a"), state_message(1)]
)


@pytest.fixture
def run(load: Loader, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(text: str = MESSAGES, **settings: Any) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "config.json"
        given = {name: value for name, value in load.settings(**settings).items() if value != ""}
        path.write_text(json.dumps(given))
        return subprocess.run(
            [COMMAND, "--config", str(path)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def reason(result: subprocess.CompletedProcess[str]) -> str:
    """Return the only error line."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    found = [line for line in result.stderr.splitlines() if "| ERROR " in line]
    assert len(found) == 1
    return found[0].rpartition(" | ")[2]


def test_a_good_run_ends_with_status_0_and_state(run: Any, monetate: Monetate) -> None:
    result = run()
    assert result.returncode == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"bookmarks": {"n": 1}}]
    assert "error" not in result.stderr.lower()
    assert "exception" not in result.stderr.lower()
    assert len(monetate.rows("orders")) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"retailer": ""}, "setting 'retailer' is required"),
        ({"username": ""}, "setting 'username' is required"),
        ({"private_key": ""}, "setting 'private_key' or 'private_key_path' is required"),
        ({"private_key_path": "/dev/zero"}, "/dev/zero is not a regular file"),
        ({"jwt_algorithm": "HS256"}, "'jwt_algorithm' must be one of RS256, RS384, RS512"),
        ({"token_ttl_seconds": 899}, "'token_ttl_seconds' must be at least 900"),
        ({"token_ttl_seconds": 43201}, "'token_ttl_seconds' must be at most 43200"),
        ({"api_url": "http://api.monetate.net"}, "'api_url' must start with https://"),
        ({"streams": {"a": {"dataset": "x"}}}, "the unknown key 'dataset'"),
        ({"streams": {"a": {"schema": "{{ id }}"}}}, "only {{ stream }} is allowed"),
        ({"streams": {"a": {"schema": 5}}}, "must be the name of a dataset"),
        ({"streams": {"a": {"row": []}}}, "must be an object"),
        ({"streams": {"a": {"row": {"id": "{{ id"}}}}, "key 'row': id: "),
        ({"streams": {"a": {"allow_append": "maybe"}}}, "must be true or false"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(load: Loader, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigValidationError) as caught:
        TargetMonetate(config=load.settings(**settings))
    (line,) = caught.value.errors
    assert said in line


def test_a_wrong_setting_is_one_line_before_anything_is_sent(run: Any, monetate: Monetate) -> None:
    line = reason(run(token_ttl_seconds=899))
    assert line == "setting 'token_ttl_seconds' must be at least 900"
    assert not monetate.requests


def test_keys_that_cannot_be_used_are_one_line_each_without_the_key(
    run: Any, monetate: Monetate
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encrypted = pem(key, PKCS8, PASSPHRASE)
    escaped = pem(key, PKCS1).replace("\n", "\\n")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"private_key": public_pem(key)}, "holds a public key"),
        ({"private_key": encrypted}, "'private_key_passphrase' is required"),
        (
            {"private_key": encrypted, "private_key_passphrase": "hunter2hunter2"},
            "'private_key_passphrase' does not decrypt the key",
        ),
        ({"private_key": escaped.replace("a", "b")}, "damaged"),
    ]
    for settings, said in cases:
        result = run(**settings)
        assert said in reason(result)
        assert "hunter2" not in result.stderr
        for line in settings["private_key"].replace("\\n", "\n").splitlines():
            assert line not in result.stderr
    assert not monetate.requests


def test_an_escaped_encrypted_key_works_from_the_setting_and_from_a_file(
    run: Any, monetate: Monetate, tmp_path: Path
) -> None:
    private = serialization.load_pem_private_key(monetate.private_key_pem.encode(), None)
    text = pem(private, PKCS1, PASSPHRASE)
    given = {"private_key": text.replace("\n", "\\n"), "private_key_passphrase": PASSPHRASE}
    assert run(**given, jwt_algorithm="RS512").returncode == 0
    path = tmp_path / "key.pem"
    path.write_text(text)
    given = {"private_key": "", "private_key_path": str(path), "private_key_passphrase": PASSPHRASE}
    assert run(**given).returncode == 0
    assert len(monetate.posts) == 2


def test_a_missing_dataset_is_one_line_with_the_names_that_exist(
    run: Any, monetate: Monetate
) -> None:
    line = reason(run(as_input([schema_message("order", {"order_id": KEY})])))
    assert line.startswith("stream 'order': Monetate has no dataset 'order'; there are: ")
    assert "; did you mean 'orders'?" in line
    assert not monetate.posts


def test_a_revoked_key_ends_with_advice_and_no_token(
    run: Any, monetate: Monetate, sandbox: Sandbox
) -> None:
    sandbox.faults.add("monetate", "/data/orders/", method="POST", status=403)
    result = run()
    assert "check that the API key of 'username' is active" in reason(result)
    assert result.stdout == ""
    for token in monetate.tokens.live:
        assert token not in result.stderr


def test_too_many_rejected_records_are_one_line_that_names_the_field(run: Any) -> None:
    messages = [ORDERS, record_message("orders", order_id="1", customer_id=" ")]
    line = reason(run(as_input(messages)))
    assert "field 'customer_id' (identifier) is empty or missing" in line
    assert "max_rejected_records: 0" in line


def test_about_needs_no_configuration() -> None:
    result = subprocess.run(
        [COMMAND, "--about", "--format", "json"], capture_output=True, text=True, check=True
    )
    about = json.loads(result.stdout)
    properties = about["settings"]["properties"]
    assert properties["private_key"]["secret"] is True
    assert properties["private_key_passphrase"]["secret"] is True
    assert properties["max_request_rows"]["default"] == 500
    assert properties["max_request_bytes"]["default"] == 4 * 1024 * 1024
    assert properties["api_url"]["default"] == "https://api.monetate.net"
