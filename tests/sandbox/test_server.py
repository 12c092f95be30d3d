"""The sandbox's server: planned faults, recorded requests, and the command."""

from __future__ import annotations

import gzip
import json
import re
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from tests.sandbox.impostors import IMPOSTORS
from tests.sandbox.server import Sandbox

ROOT = Path(__file__).parents[2]


def send(sandbox: Sandbox, context_id: str = "o-1", **options: Any) -> requests.Response:
    message = {"arcClass": "order", "contextId": context_id, "message": {"n": 1}}
    return requests.post(
        f"{sandbox.mona.api_url}/export",
        json={"userId": sandbox.mona.user_id, "messages": [message]},
        headers={"Authorization": f"Bearer {sandbox.mona.access_token()}"},
        timeout=options.pop("timeout", 10),
        **options,
    )


def delivered(sandbox: Sandbox) -> int:
    return len(sandbox.mona.messages())


def test_a_status_fault_replaces_the_response_and_nothing_is_stored(sandbox: Sandbox) -> None:
    fault = sandbox.faults.add("mona", "/export", status=503, retry_after=7, times=2)
    responses = [send(sandbox) for _ in range(3)]
    assert [response.status_code for response in responses] == [503, 503, 200]
    assert responses[0].headers["Retry-After"] == "7"
    assert "topLevelError" in responses[0].json()
    assert fault.served == 2
    assert delivered(sandbox) == 1
    assert [item.status for item in sandbox.mona.exports] == [503, 503, 200]
    assert [item.fault for item in sandbox.mona.exports] == ["503", "503", None]


def test_a_fault_sets_body_and_headers(sandbox: Sandbox) -> None:
    sandbox.faults.add("mona", status=500, body="plain", headers={"X-Id": "7"})
    sandbox.faults.add("mona", status=500, body={"any": [1]})
    sandbox.faults.add("mona", headers={"X-Id": "8"})
    first, second, third = (send(sandbox) for _ in range(3))
    assert (first.text, first.headers["X-Id"]) == ("plain", "7")
    assert second.json() == {"any": [1]}
    assert (third.status_code, third.headers["X-Id"]) == (200, "8")


def test_a_fault_can_store_the_data_and_return_an_error(sandbox: Sandbox) -> None:
    sandbox.faults.add("mona", "/export", status=502, after_acting=True)
    assert send(sandbox).status_code == 502
    assert delivered(sandbox) == 1


def every_request(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    """Return vendor, method and path of every route."""
    return [
        (vendor.name, route.method, re.sub(r"\{\w+\}", "1", route.path))
        for vendor in sandbox.vendors.values()
        for route in vendor.routes()
    ]


@pytest.mark.parametrize("name", IMPOSTORS)
def test_an_impostor_responds_to_every_request_of_every_vendor(sandbox: Sandbox, name: str) -> None:
    requests_of_all = every_request(sandbox)
    assert {vendor for vendor, _, _ in requests_of_all} == set(sandbox.vendors)
    with requests.Session() as session:
        for vendor, method, path in requests_of_all:
            fault = sandbox.faults.add(vendor, path, method=method, impostor=name)
            response = session.request(method, sandbox.url + path, data=b"{}", timeout=10)
            assert response.status_code == 200
            assert response.content == IMPOSTORS[name].body
            if IMPOSTORS[name].content_type:
                assert response.headers["Content-Type"] == IMPOSTORS[name].content_type
            assert fault.served == 1
    assert {item.status for item in sandbox.requests} == {200}
    assert {item.fault for item in sandbox.requests} == {f"impostor: {name}"}


def test_the_impostors_are_responses_of_intermediaries() -> None:
    bodies = {name: impostor.body for name, impostor in IMPOSTORS.items()}
    assert b"<html" in bodies["captive portal"]
    assert b'type="password"' in bodies["proxy login"]
    assert bodies["empty"] == b""
    assert json.loads(bodies["empty object"]) == {}
    for name in ("error", "errors", "success false", "status error", "top level error"):
        assert json.loads(bodies[name])


@pytest.mark.parametrize(("acts", "count"), [(False, 0), (True, 1)])
def test_behind_an_impostor_data_is_stored_only_if_the_vendor_acted(
    sandbox: Sandbox, acts: bool, count: int
) -> None:
    sandbox.faults.add("mona", "/export", impostor="captive portal", after_acting=acts)
    response = send(sandbox)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert delivered(sandbox) == count


def test_an_impostor_must_have_a_known_name_and_no_status(sandbox: Sandbox) -> None:
    faults: list[dict[str, Any]] = [
        {"impostor": "butler"},
        {"impostor": "empty", "status": 200},
    ]
    for wrong in faults:
        with pytest.raises(ValueError, match="impostor"):
            sandbox.faults.add("mona", **wrong)
        response = requests.post(
            f"{sandbox.url}/_sandbox/faults", json={"vendor": "mona", **wrong}, timeout=5
        )
        assert response.status_code == 400
    assert sandbox.faults.as_list() == []


@pytest.mark.parametrize(("moment", "count"), [("before", 0), ("after", 1)])
def test_a_connection_is_reset_before_or_after_the_vendor_acts(
    sandbox: Sandbox,
    moment: str,
    count: int,
) -> None:
    sandbox.faults.add("mona", "/export", reset=moment)
    with pytest.raises(requests.ConnectionError, match="aborted"):
        send(sandbox)
    assert delivered(sandbox) == count
    assert sandbox.mona.exports[0].status is None


@pytest.mark.parametrize("how", [{"reset": "mid-body"}, {"truncate": True}])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_can_end_half_way(sandbox: Sandbox, how: dict[str, Any], *, chunked: bool) -> None:
    sandbox.robotmia.chunked = chunked
    sandbox.faults.add("robotmia", "/export/", **how)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        export(sandbox)
    assert export(sandbox).status_code == 200


def test_a_stalled_body_is_complete_eventually(sandbox: Sandbox) -> None:
    sandbox.faults.add("robotmia", "/export/", stall=0.01)
    assert export(sandbox).content == export(sandbox).content


def export(sandbox: Sandbox) -> requests.Response:
    day = sandbox.robotmia.today.isoformat()
    sandbox.robotmia.set_body(day, b'{"event":"e"}\n' * 1000)
    return requests.post(
        f"{sandbox.robotmia.api_url}/export/",
        data={"from_date": day, "to_date": day},
        auth=(sandbox.robotmia.api_secret, ""),
        timeout=10,
    )


def test_a_held_request_continues_when_released(sandbox: Sandbox) -> None:
    fault = sandbox.faults.add("mona", "/export", hold=True)
    with ThreadPoolExecutor() as pool:
        response = pool.submit(send, sandbox)
        sandbox.wait_for_requests("mona", "/export")
        assert delivered(sandbox) == 0
        assert not response.done()
        fault.release()
        assert response.result().status_code == 200


def test_a_delay_sends_nothing(sandbox: Sandbox) -> None:
    sandbox.faults.add("mona", delay=30)
    with pytest.raises(requests.ReadTimeout):
        send(sandbox, timeout=0.05)


def test_an_expired_token_is_rejected_by_the_vendor(sandbox: Sandbox) -> None:
    sandbox.faults.add("mona", "/export", expire_token=True, after=1)
    assert [send(sandbox).status_code for _ in range(3)] == [200, 401, 200]


def test_faults_match_by_vendor_path_method_and_count(sandbox: Sandbox) -> None:
    sandbox.faults.add("monetate", status=500)
    sandbox.faults.add("mona", "/nowhere", status=501)
    sandbox.faults.add("mona", "*/auth/*", status=502)
    sandbox.faults.add("mona", method="PUT", status=503)
    sandbox.faults.add("mona", "/mona/ex*", status=504, after=1)
    assert [send(sandbox).status_code for _ in range(3)] == [200, 504, 200]


def test_probabilities_use_the_seed_and_restart_after_a_reset(sandbox: Sandbox) -> None:
    def statuses() -> list[int]:
        sandbox.reset()
        sandbox.faults.add("*", status=503, probability=0.3, times=None)
        return [send(sandbox).status_code for _ in range(40)]

    first = statuses()
    assert 3 < first.count(503) < 25
    assert statuses() == first


def test_a_fault_with_an_unknown_key_is_rejected(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="statuss"):
        sandbox.faults.add("mona", statuss=500)
    url = f"{sandbox.url}/_sandbox/faults"
    for wrong in [{"vendor": "mona", "statuss": 1}, {"status": 500}, 3]:
        assert requests.post(url, json=wrong, timeout=5).status_code == 400


def test_faults_clocks_and_records_are_available_over_http(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/_sandbox"
    planned = [{"vendor": "mona", "status": 500}, {"vendor": "mona", "status": 501}]
    assert len(requests.post(f"{url}/faults", json=planned, timeout=5).json()) == 2
    assert send(sandbox).status_code == 500
    assert requests.get(f"{url}/faults", timeout=5).json()[0]["served"] == 1
    assert requests.delete(f"{url}/faults", timeout=5).status_code == 204
    assert send(sandbox).status_code == 200
    clock = {"vendor": "robotmia", "now": "2026-01-02T03:04:05+00:00"}
    assert requests.post(f"{url}/clock", json=clock, timeout=5).status_code == 200
    assert sandbox.robotmia.now == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    records = requests.get(f"{url}/requests?vendor=mona", timeout=5).json()
    assert [item["status"] for item in records] == [500, 200]
    ready = requests.get(f"{url}/ready", timeout=5).json()
    assert ready["mona"] == sandbox.mona.credentials()
    assert requests.post(f"{url}/reset", timeout=5).status_code == 204
    assert sandbox.requests == []


def test_requests_are_recorded_without_their_credentials(sandbox: Sandbox) -> None:
    send(sandbox)
    record = sandbox.mona.exports[0]
    assert record.method == "POST"
    assert record.headers["authorization"] == "Bearer ***"
    assert record.json["messages"][0]["contextId"] == "o-1"
    assert record.size == len(record.body or b"")
    shown = requests.get(f"{sandbox.url}/_sandbox/requests", timeout=5).text
    assert "eyJ" not in shown


def test_a_large_body_is_not_recorded(sandbox: Sandbox) -> None:
    sandbox.faults.add("mona", status=500)
    response = requests.post(f"{sandbox.mona.api_url}/export", data=b"x" * 200_000, timeout=10)
    assert response.status_code == 500
    assert (sandbox.mona.exports[0].size, sandbox.mona.exports[0].body) == (200_000, None)


def test_concurrent_requests_of_one_key_are_detected(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor() as pool:
        fault = sandbox.faults.add("mona", "/export", hold=True, times=3)
        responses = [pool.submit(send, sandbox, key) for key in ("a", "b", "a")]
        sandbox.wait_for_requests("mona", "/export", count=3)
        fault.release()
        assert [response.result().status_code for response in responses] == [200, 200, 200]
    assert [key for key, _, _ in sandbox.mona.overlaps()] == [("order", "a")]
    assert sandbox.mona.max_concurrent == 3
    sandbox.reset()
    send(sandbox, "a")
    send(sandbox, "a")
    assert sandbox.mona.overlaps() == []
    assert sandbox.mona.max_concurrent == 1


def test_an_internal_error_of_the_sandbox_is_recorded(sandbox: Sandbox) -> None:
    sandbox.mona.refuse_if = lambda item: item["no such field"]
    assert send(sandbox).status_code == 500
    assert "no such field" in sandbox.errors.pop()


def test_the_page_shows_requests_and_hides_secrets(sandbox: Sandbox) -> None:
    send(sandbox)
    sandbox.mona.refuse_if = lambda _: "<b>odd</b>"
    send(sandbox)
    page = requests.get(sandbox.url, timeout=5)
    assert page.headers["Content-Type"].startswith("text/html")
    for name in sandbox.vendors:
        assert f'<h2 id="{name}">' in page.text
    assert "2 requests, 1 rejected" in page.text
    assert "&lt;b&gt;odd&lt;/b&gt;" in page.text
    assert sandbox.mona.client_secret not in page.text


def test_several_sandboxes_run_in_parallel() -> None:
    with Sandbox(vendors=["mona"]) as one, Sandbox(vendors=["mona"]) as two:
        assert send(one).status_code == 200
        assert (delivered(one), delivered(two)) == (1, 0)
        assert not hasattr(one, "robotmia")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "tests.sandbox", "--database", str(tmp_path / "sandbox.db")),
        *("--ready-file", str(tmp_path / "ready.json"), "--big-day", "2026-01-02", "50"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_address_and_ends_on_a_signal(
    command: list[str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert json.loads((tmp_path / "ready.json").read_text()) == ready
        robotmia, mona = ready["robotmia"], ready["mona"]
        with urllib3.PoolManager() as pool:
            response = pool.request(
                "POST",
                f"{robotmia['api_url']}/export/",
                fields={"from_date": "2026-01-02", "to_date": "2026-01-02"},
                encode_multipart=False,
                headers={
                    **urllib3.make_headers(basic_auth=f"{robotmia['api_secret']}:"),
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept-Encoding": "gzip",
                },
                decode_content=False,
            )
            assert gzip.decompress(response.data).count(b"\n") == 50
            login = {"clientId": mona["client_id"], "secret": mona["client_secret"]}
            assert pool.request("POST", mona["auth_url"], json=login).status == 200
            # An open connection does not prevent the end.
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
    with sqlite3.connect(tmp_path / "sandbox.db") as database:
        found = database.execute("SELECT vendor, status FROM requests ORDER BY number").fetchall()
    database.close()
    assert found == [("robotmia", 200), ("mona", 200)]


def test_a_database_persists_between_runs(tmp_path: Path) -> None:
    for count in (1, 2):
        with Sandbox(vendors=["mona"], database=tmp_path / "sandbox.db") as sandbox:
            assert send(sandbox, f"o-{count}").status_code == 200
            assert delivered(sandbox) == count
