"""The sandbox's robotmia follows the vendor's page and has realistic events."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import requests

from tests.sandbox.robotmia_events import EXTRA_KEYS, ODDITIES, ON_DEMAND, with_oddity

if TYPE_CHECKING:
    from datetime import date

    from tests.sandbox.server import Sandbox

DAY = "2026-03-04"
NOON = int(datetime(2026, 3, 4, 12, tzinfo=timezone.utc).timestamp())
LATER = datetime(2026, 3, 20, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def some_days_later(sandbox: Sandbox) -> None:
    sandbox.robotmia.now = LATER


def event(name: str = "Page Viewed", time: float = NOON, **properties: Any) -> dict[str, Any]:
    return {"event": name, "properties": {"time": time, "distinct_id": "v", **properties}}


def export(
    sandbox: Sandbox,
    first: date | str = DAY,
    last: date | str | None = None,
    method: str = "POST",
    auth: tuple[str, str] | None = None,
    **options: Any,
) -> requests.Response:
    fields = {"from_date": str(first), "to_date": str(last or first), **options.pop("fields", {})}
    place = "data" if method == "POST" else "params"
    return requests.request(
        method,
        f"{sandbox.robotmia.api_url}/export/",
        auth=auth or (sandbox.robotmia.api_secret, ""),
        timeout=10,
        **{place: fields, **options},
    )


def names(response: requests.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [json.loads(line)["event"] for line in response.content.split(b"\n") if line]


def test_only_a_form_and_a_query_are_accepted(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_events([event()])
    assert names(export(sandbox)) == ["Page Viewed"]
    assert names(export(sandbox, method="GET")) == ["Page Viewed"]
    assert export(sandbox, method="PUT").status_code == 405
    assert export(sandbox, method="HEAD").status_code == 405
    assert export(sandbox, data=None, json={"from_date": DAY, "to_date": DAY}).status_code == 400


@pytest.mark.parametrize("status", [401, 400, 403])
def test_a_wrong_secret_is_rejected(sandbox: Sandbox, status: int) -> None:
    sandbox.robotmia.refusal_status = status
    secret = sandbox.robotmia.api_secret
    for credential in [("wrong", ""), (secret, "password"), ("", secret)]:
        response = export(sandbox, auth=credential)
        assert response.status_code == status
        assert "Unable to authenticate" in response.json()["error"]
    url = f"{sandbox.robotmia.api_url}/export/"
    assert requests.post(url, timeout=5).status_code == status
    for header in ["Basic", "Basic ***", "Basic YQ", f"Bearer {encoded(secret)}", "Basic \u00e9"]:
        headers = {"Authorization": header.encode()}
        assert requests.post(url, headers=headers, timeout=5).status_code == status


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_colon_of_the_credential_and_the_slash_of_the_url_are_optional(
    sandbox: Sandbox,
) -> None:
    sandbox.robotmia.set_events([event()])
    sandbox.robotmia.api_secret = "~~secret??>"
    standard = encoded(sandbox.robotmia.api_secret)
    assert "/" in standard
    url = f"{sandbox.robotmia.api_url}/export"
    days = {"from_date": DAY, "to_date": DAY}
    for credential in [
        standard,
        standard.replace("+", "-").replace("/", "_"),
        encoded(f"{sandbox.robotmia.api_secret}:"),
    ]:
        headers = {"Authorization": f"Basic {credential}"}
        assert names(requests.get(url, params=days, headers=headers, timeout=5)) == ["Page Viewed"]
        assert names(requests.post(url, data=days, headers=headers, timeout=5)) == ["Page Viewed"]
    assert len(sandbox.robotmia.exports) == 6


def test_rows_can_have_keys_beside_event_and_properties(sandbox: Sandbox) -> None:
    plain = export(sandbox, "2026-03-10").content.splitlines()
    sandbox.robotmia.extra_keys = EXTRA_KEYS
    lines = export(sandbox, "2026-03-10").content.splitlines()
    assert len(lines) == len(plain) > 300
    for line, before in zip(lines, plain, strict=True):
        assert json.loads(line) == {**json.loads(before), **EXTRA_KEYS}
    sandbox.robotmia.set_events([{**event(), "labels": []}])
    assert json.loads(export(sandbox).content) == {**event(), "labels": []}


def test_days_are_in_the_project_time_zone_and_inclusive(sandbox: Sandbox) -> None:
    midnight = NOON - 12 * 3600
    sandbox.robotmia.set_events(
        [
            event("before", midnight - 1),
            event("first", midnight),
            event("last", midnight + 2 * 86400 - 1),
            event("after", midnight + 2 * 86400),
        ],
    )
    assert names(export(sandbox, DAY, "2026-03-05")) == ["first", "last"]
    assert names(export(sandbox, "2026-03-03")) == ["before"]


def test_lines_come_sorted_by_raw_time(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_events([event("second", NOON + 1), event("first", NOON)])
    assert names(export(sandbox)) == ["first", "second"]


def test_a_future_day_of_the_project_is_rejected(sandbox: Sandbox) -> None:
    # 06:00 in UTC on the 20th is still the 19th in Los Angeles, and already evening in Auckland.
    sandbox.robotmia.now = datetime(2026, 3, 20, 6, tzinfo=timezone.utc)
    response = export(sandbox, "2026-03-20")
    assert response.status_code == 400
    assert response.json() == {"error": "to_date cannot be later than today"}
    sandbox.robotmia.project_timezone = "Pacific/Auckland"
    assert export(sandbox, "2026-03-20").status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"from_date": "2026-3-4"},
        {"from_date": "2026-02-30"},
        {"to_date": "20260304"},
        {"to_date": "2026-03-03"},
        {"event": "Page Viewed"},
        {"event": "[]"},
        {"event": "[1]"},
        {"where": "properties.os"},
        {"where": 'properties["$os"]=='},
        {"limit": "5"},
    ],
)
def test_an_invalid_parameter_is_rejected(sandbox: Sandbox, fields: dict[str, str]) -> None:
    response = export(sandbox, fields=fields)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('properties["$os"]=="Linux"', ["a"]),
        ("properties['$os'] != 'Linux'", ["b", "c"]),
        ('properties["n"] > 1 and not properties["$os"] == "iOS"', ["a"]),
        ('(properties["n"]==1 or properties["n"]>=3)', ["b", "c"]),
        ('defined(properties["none"])', ["c"]),
        ('properties["none"] == true', ["c"]),
    ],
)
def test_filters_select_events(
    sandbox: Sandbox,
    expression: str,
    expected: list[str],
) -> None:
    sandbox.robotmia.set_events(
        [
            event("a", NOON, **{"$os": "Linux", "n": 2}),
            event("b", NOON, **{"$os": "iOS", "n": 3}),
            event("c", n=1, none=True),
        ],
    )
    assert names(export(sandbox, fields={"where": expression})) == expected
    fields = {"where": expression, "event": json.dumps(["a", "b"])}
    assert names(export(sandbox, fields=fields)) == [name for name in expected if name != "c"]


def test_the_body_is_empty_without_events(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_events([])
    response = export(sandbox)
    assert (response.status_code, response.content) == (200, b"")


def test_bodies_are_gzip_only_if_requested(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_events([event()])
    packed = export(sandbox, stream=True, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b"Page Viewed" in gzip.decompress(packed.raw.read())
    for accepted in ["identity", "gzip;q=0, identity"]:
        plain = export(sandbox, headers={"Accept-Encoding": accepted})
        assert "Content-Encoding" not in plain.headers
        assert names(plain) == ["Page Viewed"]
    sandbox.robotmia.gzip_minimum_bytes = 10_000
    assert "Content-Encoding" not in export(sandbox).headers


def test_generated_events_are_the_same_for_every_export_of_a_past_day(sandbox: Sandbox) -> None:
    first = export(sandbox, "2026-03-10").content
    assert first.count(b"\n") > 300
    sandbox.reset()
    sandbox.robotmia.now = LATER + timedelta(days=1)
    assert export(sandbox, "2026-03-10").content == first


def test_late_mobile_events_are_in_later_exports_of_their_day(sandbox: Sandbox) -> None:
    sandbox.robotmia.now = datetime(2026, 3, 5, 9, tzinfo=timezone.utc)
    early = export(sandbox).content.split(b"\n")
    sandbox.robotmia.now = datetime(2026, 3, 5, 9, tzinfo=timezone.utc) + timedelta(days=5)
    late = export(sandbox).content.split(b"\n")
    added = [json.loads(line)["properties"] for line in late if line not in set(early)]
    assert set(early) < set(late)
    assert {item["mp_lib"] for item in added} >= {"iphone", "android"}


def test_time_is_the_project_local_time_read_as_utc(sandbox: Sandbox) -> None:
    zone = ZoneInfo(sandbox.robotmia.project_timezone)
    for item in sandbox.robotmia.events(DAY, "2026-03-10"):
        assert item.true_time is not None
        local = datetime.fromtimestamp(item.true_time, zone).replace(tzinfo=None)
        raw = datetime.fromtimestamp(item.time, timezone.utc).replace(tzinfo=None)
        assert raw == local.replace(microsecond=0)
        arrival = item.properties.get("mp_processing_time_ms")
        assert arrival is None or arrival / 1000 > item.true_time


def test_the_ambiguous_hour_has_events_of_both_offsets(sandbox: Sandbox) -> None:
    sandbox.robotmia.now = datetime(2025, 11, 20, tzinfo=timezone.utc)
    moments: dict[float, set[float]] = {}
    for item in sandbox.robotmia.events("2025-11-02"):
        moments.setdefault(item.time, set()).add(item.true_time or 0)
    twice = [sorted(found) for found in moments.values() if len(found) > 1]
    assert len([pair for pair in twice if pair[1] - pair[0] == 3600]) >= 4


def test_every_generated_day_has_every_special_case(sandbox: Sandbox) -> None:
    found = [item.properties for item in sandbox.robotmia.events("2026-03-10")]
    for oddity in set(ODDITIES) - ON_DEMAND:
        wanted = json.loads(f"{{{ODDITIES[oddity]}}}")
        assert any({**item, **wanted} == item for item in found), oddity
    assert any("$insert_id" not in item for item in found)
    assert any("distinct_id" not in item for item in found)
    lines = [item.line for item in sandbox.robotmia.events("2026-03-10")]
    assert len(set(lines)) < len(lines)


def test_a_requested_special_case_is_sent_as_written(sandbox: Sandbox) -> None:
    line = with_oddity(event(), "lone surrogate")
    sandbox.robotmia.set_events([line])
    sandbox.robotmia.add_event(b"no event at all", time=NOON + 1)
    assert export(sandbox).content == line + b"\nno event at all\n"


def test_a_complete_body_can_be_given(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_events([event("next", NOON + 86400)])
    sandbox.robotmia.set_body(DAY, b'{"event":"given"}\n')
    assert names(export(sandbox)) == ["given"]
    assert names(export(sandbox, DAY, "2026-03-05")) == ["given", "next"]


def test_a_large_day_has_the_requested_number_of_events(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_big_day(DAY, 5000)
    lines = export(sandbox).content.splitlines()
    assert len(lines) == 5000
    assert len(json.loads(lines[-1])["properties"]) == 26
    assert 700 < sum(map(len, lines)) / 5000 < 820


def test_too_many_concurrent_exports_are_rejected(sandbox: Sandbox) -> None:
    sandbox.robotmia.max_concurrent_exports = 0
    response = export(sandbox)
    assert response.status_code == 429
    assert response.json()["error"] == "too many export requests in progress"


def test_exports_beyond_the_hourly_limit_are_rejected_until_the_hour_ends(sandbox: Sandbox) -> None:
    sandbox.robotmia.hourly_budget = 2
    sandbox.robotmia.send_retry_after = True
    assert [export(sandbox).status_code for _ in range(3)] == [200, 200, 429]
    response = export(sandbox)
    assert response.json()["error"] == "3/2 queries in the last hour"
    assert response.headers["Retry-After"] == "3600"
    sandbox.robotmia.now = LATER + timedelta(hours=1)
    assert export(sandbox).status_code == 200


def test_a_plan_without_api_access_gets_an_error(sandbox: Sandbox) -> None:
    sandbox.robotmia.has_api_access = False
    assert export(sandbox).status_code == 402


def test_a_cut_gzip_body_ends_cleanly_with_whole_lines_and_no_trailer(sandbox: Sandbox) -> None:
    sandbox.robotmia.set_events([event(f"e{number}", NOON + number) for number in range(6)])
    sandbox.faults.add("robotmia", cut_gzip=True)
    sandbox.faults.add("robotmia", cut_gzip=8)
    for kept in (3, 6):
        stream = zlib.decompressobj(wbits=31)
        text = stream.decompress(export(sandbox, stream=True).raw.read(decode_content=False))
        assert text.count(b"\n") == kept
        assert text.endswith(b"\n")
        assert not stream.eof


@pytest.mark.parametrize("words", [True, "export terminated early"])
def test_an_export_can_end_with_a_termination_message(sandbox: Sandbox, words: Any) -> None:
    sandbox.robotmia.set_events([event(f"e{number}", NOON + number) for number in range(6)])
    sandbox.faults.add("robotmia", terminated_early=words)
    lines = export(sandbox).content.splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith(b"terminated early")
    sandbox.robotmia.set_events([])
    sandbox.faults.add("robotmia", terminated_early=True)
    assert export(sandbox).content == b"terminated early\n"
