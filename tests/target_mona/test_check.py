"""The command ``target-mona --check``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.singer import as_bytes, schema

if TYPE_CHECKING:
    from tests.sandbox.mona import Mona
    from tests.target_mona.conftest import Target


def check(target: Target, *lines: Any, **settings: Any) -> tuple[int, list[str]]:
    path = target.folder / "check.json"
    path.write_text(json.dumps({**target.config, **settings}))
    given = target.folder / "schemas.jsonl"
    given.write_bytes(as_bytes(list(lines)))
    arguments = ["--input", str(given)] if lines else []
    run = target.command("--config", str(path), "--check", *arguments)
    return run.status, run.output.splitlines()


def test_login_and_user_id_are_verified_without_sending(target: Target, mona: Mona) -> None:
    lines = ["✓ settings", "✓ login", "✓ user id", "✓ connection to 'api_url'"]
    assert check(target) == (0, lines)
    assert mona.exports == []


def test_an_api_url_without_a_server_is_named(target: Target) -> None:
    status, lines = check(target, api_url="http://127.0.0.1:9", max_attempts=1)
    assert status == 1
    assert lines[-1].startswith("✗ connection to 'api_url': Mona: ")
    assert "no connection to 127.0.0.1" in lines[-1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"client_secret": "wrong"}, "check settings 'client_id' and 'client_secret'"),
        (
            {"user_id": "1"},
            "setting 'user_id' is '1', but the access token is of user '1234567890'",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(target: Target, settings: dict[str, Any], said: str) -> None:
    status, lines = check(target, **settings)
    assert status == 1
    assert [line for line in lines if line.startswith("✗")] == [lines[-1]]
    assert said in lines[-1]


def test_a_wrong_auth_url_is_named(target: Target, mona: Mona) -> None:
    status, lines = check(target, auth_url=f"{mona.auth_url}/v2")
    assert status == 1
    assert lines[-1].endswith("; check setting 'auth_url'")


def test_an_expired_access_token_is_named(target: Target, mona: Mona) -> None:
    status, lines = check(target, access_token=mona.access_token(expires_in=-1))
    assert status == 1
    assert lines[-1].startswith("✗ login: setting 'access_token' has expired")


def test_streams_whose_names_become_one_arc_class_are_named(target: Target) -> None:
    status, lines = check(target, schema("web orders"), schema("web_orders"))
    assert status == 1
    assert "'web orders' and 'web_orders' would both have the arc class" in "".join(lines)
