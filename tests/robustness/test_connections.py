from __future__ import annotations

import base64
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from singer_martech.http.client import MEBIBYTE
from tests.kit.scripted_server import ScriptedServer
from tests.kit.web import Front, RawServer, certificate, unending
from tests.robustness.plugins import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.robustness.plugins import Plugin
    from tests.sandbox.server import Sandbox

NO_PROXIES = dict.fromkeys(
    (
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ),
    "",
)


def at(url: str, plugin: Plugin, sandbox: Sandbox) -> dict[str, Any]:
    """Return settings with the sandbox at another address."""
    return {
        name: value.replace(sandbox.url, url) if name.endswith("_url") else value
        for name, value in plugin.settings(sandbox).items()
    }


@pytest.mark.parametrize(
    ("days", "address"), [(1, "127.0.0.1"), (-1, "127.0.0.1"), (1, "10.0.0.1")]
)
def test_an_untrusted_certificate_is_an_error_before_anything_is_sent(
    plugin: Plugin, sandbox: Sandbox, folder: Path, days: int, address: str
) -> None:
    file = certificate(folder, address, days=days)
    # an untrusted certificate is rejected; a trusted one is rejected if expired or for another host
    trusted = {} if (days, address) == (1, "127.0.0.1") else {"REQUESTS_CA_BUNDLE": str(file)}
    with Front(file, sandbox.url) as front:
        config = at(front.url, plugin, sandbox)
        outcome = run(plugin, config, folder, environment={**NO_PROXIES, **trusted})
    assert outcome.status == 1
    assert "could not be trusted" in outcome.reason
    assert "REQUESTS_CA_BUNDLE" in outcome.reason
    assert front.seen == []


def test_a_private_authority_set_in_the_environment_is_trusted(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    file = certificate(folder)
    with Front(file, sandbox.url) as front:
        config = at(front.url, plugin, sandbox)
        trusted = {**NO_PROXIES, "REQUESTS_CA_BUNDLE": str(file)}
        outcome = run(plugin, config, folder, environment=trusted)
    assert outcome.status == 0, outcome.log
    assert front.seen


def test_a_proxy_sees_only_encrypted_data(plugin: Plugin, sandbox: Sandbox, folder: Path) -> None:
    file = certificate(folder, "vendor.example")
    with Front(file, sandbox.url) as front, Front(behind=front.url) as proxy:
        config = at("https://vendor.example", plugin, sandbox)
        proxies = {"HTTPS_PROXY": proxy.url, "https_proxy": proxy.url}
        environment = {**NO_PROXIES, **proxies, "REQUESTS_CA_BUNDLE": str(file)}
        outcome = run(plugin, config, folder, environment=environment)
        assert outcome.status == 0, outcome.log
        assert set(proxy.seen) == {"CONNECT vendor.example:443"}
        seen = len(proxy.seen)
        sandbox.reset()
        without = {**environment, "NO_PROXY": "vendor.example", "no_proxy": "vendor.example"}
        assert (
            "no connection to vendor.example"
            in run(plugin, config, folder, environment=without).reason
        )
        assert len(proxy.seen) == seen


def test_no_proxy_is_used_for_loopback_addresses(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    with Front() as proxy:
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), proxy.url)
        environment = {**NO_PROXIES, **proxies}
        outcome = run(plugin, plugin.settings(sandbox), folder, environment=environment)
    assert outcome.status == 0, outcome.log
    assert proxy.seen == []


PROXIES = {
    "http://127.0.0.1:1": r"the proxy 127\.0\.0\.1:1 cannot be reached \(.*refused",
    "http://user:p455w0rd@127.0.0.1:1/": r"the proxy .*cannot be reached \(.*refused",
    "http://127.0.0.1:1:user:p455w0rd": "the address of the proxy is invalid",
    "http://[": "the address of the proxy is invalid",
    "http://": "the address of the proxy is invalid",
    "http://user:p455w0rd@": "the address of the proxy is invalid",
    "gopher://127.0.0.1:1": "the address of the proxy is invalid",
    "socks5://127.0.0.1:1": "needs the package PySocks",
}


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_unusable_proxy_is_named_immediately(
    plugin: Plugin, sandbox: Sandbox, folder: Path, proxy: str
) -> None:
    config = {**at("https://vendor.example", plugin, sandbox), "max_attempts": 6}
    environment = {**NO_PROXIES, "ALL_PROXY": proxy, "all_proxy": proxy}
    outcome = run(plugin, config, folder, environment=environment)
    assert outcome.status == 1
    assert re.search(PROXIES[proxy], outcome.reason), outcome.reason
    assert "ALL_PROXY" in outcome.reason
    assert "next attempt" not in outcome.log
    assert "p455w0rd" not in outcome.log


def test_the_password_of_a_proxy_is_hidden_in_its_response(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    header = base64.b64encode(b"user:p455w0rd")

    def reject(connection: socket.socket) -> None:
        assert header in connection.recv(65536)
        connection.sendall(b"HTTP/1.1 407 not with p455w0rd or %b\r\n\r\n" % header)

    with RawServer(reject) as server:
        config = at("https://vendor.example", plugin, sandbox)
        proxy = f"http://user:p455w0rd@127.0.0.1:{server.port}"
        proxies = {"HTTPS_PROXY": proxy, "https_proxy": proxy}
        outcome = run(plugin, config, folder, environment={**NO_PROXIES, **proxies})
        assert server.accepted
    assert outcome.status == 1
    assert "407 not with [secret] or [secret]" in outcome.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_drops_credentials(
    plugin: Plugin, sandbox: Sandbox, folder: Path, status: int
) -> None:
    config = plugin.settings(sandbox)
    with ScriptedServer() as elsewhere:
        elsewhere_url = elsewhere.url.replace("127.0.0.1", "localhost")
        for path in ("", "/export", "/data/", "/files/", "/document_imports/"):
            sandbox.faults.clear()
            headers = {"Location": f"{elsewhere_url}/there"}
            sandbox.faults.add(plugin.vendor, path, status=status, headers=headers, times=None)
            run(plugin, config, folder).check()
        assert all("authorization" not in each.headers for each in elsewhere.received)
        secrets = [str(config[name]) for name in plugin.secrets if name in config]
        sent = [each.body.decode() + str(each.headers) + each.path for each in elsewhere.received]
        assert not any(secret in text for secret in secrets for text in sent)


@pytest.mark.parametrize(
    "location", ["http://example.com/", "ftp://127.0.0.1/", "//", "http://[", "x:y", "?", ""]
)
def test_an_invalid_redirect_is_a_one_line_error(
    plugin: Plugin, sandbox: Sandbox, folder: Path, location: str
) -> None:
    config = plugin.settings(sandbox)
    sandbox.faults.add(plugin.vendor, status=302, headers={"Location": location}, times=None)
    outcome = run(plugin, config, folder)
    outcome.check()
    assert outcome.status == 1


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["interim responses", "trailers"],
)
def test_endless_headers_are_a_one_line_error(
    plugin: Plugin, sandbox: Sandbox, folder: Path, start: bytes, endless: bytes
) -> None:
    with RawServer(unending(start, endless)) as server:
        config = at(f"http://127.0.0.1:{server.port}", plugin, sandbox)
        outcome = run(plugin, config, folder)
        assert server.accepted
    assert outcome.status == 1
    assert "bytes of headers" in outcome.reason


def test_an_error_with_a_large_body_is_retried(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    config = {**plugin.settings(sandbox), "max_attempts": 2}
    sandbox.faults.add(plugin.vendor, status=503, body=bytes(5 * MEBIBYTE))
    outcome = run(plugin, config, folder)
    assert outcome.status == 0, outcome.log
    assert "next attempt" in outcome.log


def test_a_closed_port_is_a_one_line_error_that_names_the_url_setting(
    plugin: Plugin, sandbox: Sandbox, folder: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        config = {**at(closed, plugin, sandbox), "max_attempts": 1}
        outcome = run(plugin, config, folder)
    assert outcome.status == 1
    setting = "auth_url" if plugin.name == "target-mona" else "api_url"
    assert f"setting '{setting}'" in outcome.reason
