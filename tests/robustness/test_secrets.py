from __future__ import annotations

import base64
import json
import stat
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives import serialization

from tests.robustness.plugins import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

PASSPHRASE = 'pass "phrase" & märker'

#: A fault for every request of a run; `{secret}` is replaced with a secret of the request.
FAILURES: dict[str, dict[str, Any] | None] = {
    "a good run": None,
    "a rejected credential": {"status": 401},
    "a response that repeats the secret": {"status": 400, "body": '{"error": "bad: {secret}"}'},
    "a forbidden request": {"status": 403, "body": "no access for {secret}"},
    "a failure full of secrets": {"status": 500, "body": "{secret}" * 60},
    "an error full of secrets": {
        "status": 403,
        "body": {"error": "{secret} " * 60, "data": None, "meta": {"errors": ["{secret} " * 60]}},
    },
    "a page full of secrets": {
        "status": 200,
        "headers": {"Content-Type": "text/html"},
        "body": "<html>" + "{secret} " * 60,
    },
    "an error line full of secrets": {
        "status": 200,
        "body": {"error": "{secret} " * 60},
    },
    "a success full of secrets": {"status": 200, "body": '{"data": "' + "{secret}" * 30 + '"}'},
    "a success with a secret where none belongs": {
        "status": 200,
        "body": '{"data": {"id": "{secret}", "{secret}": 1}, "meta": {"errors": ["{secret}"]}}',
    },
    "a rate limit": {"status": 429, "body": "{secret}"},
    "a broken connection": {"reset": "after"},
    "a redirect": {"status": 302, "headers": {"Location": "https://127.0.0.1:9/?token={quoted}"}},
}


def planted(plugin: Plugin, sandbox: Sandbox) -> tuple[dict[str, Any], list[str]]:
    """Return settings whose secrets are markers, and all texts that must not appear."""
    config = plugin.settings(sandbox)
    if plugin.vendor == "robotmia":
        config["api_secret"] = sandbox.robotmia.api_secret = "Marker/of+the=robotmia secret"
    if plugin.vendor == "mona":
        config["client_secret"] = sandbox.mona.client_secret = 'Marker"of\\Mona & co'
    if plugin.vendor == "monetate":
        config["private_key"] = encrypted(sandbox.monetate.private_key_pem)
        config["private_key_passphrase"] = PASSPHRASE
    secrets = [str(config[name]) for name in plugin.secrets if name in config]
    assert secrets
    return config, secrets


def encrypted(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE.encode()),
    ).decode()


def issued(sandbox: Sandbox) -> list[str]:
    """Return the tokens that the vendors have issued."""
    return [*sandbox.monetate.tokens.live, *sandbox.mona.tokens.refresh_tokens]


def forms(secret: str) -> Iterator[bytes]:
    """Yield the forms of a secret in a leak, complete or partial."""
    lines = [line for line in secret.splitlines() if line and not line.startswith("-----")]
    for text in {secret.strip(), *lines}:
        quotes = (quote(text), quote(text, safe=""), quote_plus(text))
        for form in (text, *quotes, json.dumps(text)[1:-1], repr(text)[1:-1]):
            yield form.encode()
            if len(form) > 14:
                yield form[:12].encode()  # truncated
        yield base64.b64encode(f"{text}:".encode())
        yield base64.b64encode(f"{text}:".encode())[:12]


def leaks(secrets: Iterable[str], places: dict[str, bytes]) -> list[str]:
    return [
        f"{form!r} in {place}: …{content[max(0, content.index(form) - 80) :][:200]!r}"
        for secret in secrets
        for form in forms(secret)
        for place, content in places.items()
        if form in content
    ]


def left_behind(folder: Path) -> dict[str, bytes]:
    """Return the files of a run, except its inputs."""
    given = {"config.json", "state.json", "catalog.json", "input"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in given
    }


@pytest.mark.parametrize("failure", FAILURES)
def test_no_output_contains_a_secret(
    plugin: Plugin, sandbox: Sandbox, folder: Path, failure: str
) -> None:
    config, secrets = planted(plugin, sandbox)
    if not plugin.is_tap:
        config |= {"max_rejected_records": 3, "summary_path": str(folder / "summaries")}
        (folder / "summaries").mkdir()
    fault = FAILURES[failure]
    if fault is not None:
        # only the login's secrets; without the fault, the vendor's own texts are shown
        for secret in secrets:
            text = json.dumps(fault).replace("{secret}", json.dumps(secret)[1:-1])
            text = text.replace("{quoted}", quote(secret, safe=""))
            sandbox.faults.clear()
            sandbox.faults.add(plugin.vendor, **{**json.loads(text), "times": None})
            check(plugin, sandbox, folder, config, secrets, fails=failure)
        return
    check(plugin, sandbox, folder, config, secrets, fails=None)


def check(
    plugin: Plugin,
    sandbox: Sandbox,
    folder: Path,
    config: dict[str, Any],
    secrets: list[str],
    *,
    fails: str | None,
) -> None:
    outcome = run(plugin, config, folder, environment={"LOGLEVEL": "DEBUG"})
    assert "DEBUG" in outcome.log
    assert outcome.status == 0 or fails, outcome.log
    places = {"stdout": outcome.out, "stderr": outcome.log.encode(), **left_behind(folder)}
    assert leaks([*secrets, *issued(sandbox)], places) == []


@pytest.mark.parametrize("command", ["--discover", "--about", "--test"])
def test_no_secret_is_in_about_and_discovery(
    tap: Plugin, sandbox: Sandbox, folder: Path, command: str
) -> None:
    config, secrets = planted(tap, sandbox)
    outcome = run(tap, config, folder, command, environment={"LOGLEVEL": "DEBUG"})
    places = {"stdout": outcome.out, "stderr": outcome.log.encode()}
    assert outcome.status == 0, outcome.log
    assert leaks(secrets, places) == []


@pytest.mark.parametrize("wrong", [17, True, ["x"], {"a": "x"}, None, "", "   ", "\x00", "ä\nö"])
def test_a_wrong_secret_is_not_printed(
    plugin: Plugin, sandbox: Sandbox, folder: Path, wrong: Any
) -> None:
    config, secrets = planted(plugin, sandbox)
    for name in plugin.secrets:
        odd = {**config, name: wrong, f"{name}_": secrets[0]}
        outcome = run(plugin, odd, folder, environment={"LOGLEVEL": "DEBUG"})
        assert outcome.status in {0, 1}
        assert leaks(secrets, {"stderr": outcome.log.encode(), "stdout": outcome.out}) == []


def test_issued_tokens_are_redacted_in_responses(sandbox: Sandbox, folder: Path) -> None:
    from tests.robustness.plugins import PLUGINS  # noqa: PLC0415 - two of the five log in

    for plugin in PLUGINS:
        if plugin.name not in {"target-mona", "target-monetate"}:
            continue
        config, _ = planted(plugin, sandbox)
        path = "/auth/v0" if plugin.vendor == "monetate" else "/api-token"
        tokens = {"token": "MarkerOfToken-1", "refresh": "MarkerOfRefresh-2"}
        login = {
            "data": {"token": tokens["token"], "expires_in": 3600},
            "accessToken": tokens["token"],
            "refreshToken": tokens["refresh"],
        }
        sandbox.faults.add(plugin.vendor, path, status=200, body=login, times=None)
        words = f"expired: {tokens['token']} or {tokens['refresh']}"
        sandbox.faults.add(plugin.vendor, status=400, body={"error": words}, times=None)
        outcome = run(plugin, config, folder, environment={"LOGLEVEL": "DEBUG"})
        assert outcome.status == 1
        places = {"stdout": outcome.out, "stderr": outcome.log.encode(), **left_behind(folder)}
        assert leaks(tokens.values(), places) == []


def test_reports_summaries_and_their_folders_are_private(
    target: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    config = target.settings(sandbox)
    config |= {"max_rejected_records": 9, "summary_path": str(folder / "summary.json")}
    broken = {"type": "RECORD", "stream": "people", "record": {"id": 5}}
    outcome = run(target, config, folder, data=target.input + json.dumps(broken).encode())
    assert outcome.status == 0, outcome.log
    left = [folder / name for name in left_behind(folder)]
    assert len(left) == 3  # the report, its schema, the summary
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o600}
    assert stat.S_IMODE((folder / "rejects").stat().st_mode) == 0o700
