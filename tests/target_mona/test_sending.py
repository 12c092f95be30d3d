"""Request sizes, order, credentials and retries, as the server sees them."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from target_mona.access_token import claims_of, expiry_of
from tests.kit.singer import record, records, schema, state

if TYPE_CHECKING:
    from tests.sandbox.mona import Mona
    from tests.sandbox.recording import RecordedRequest
    from tests.sandbox.server import Sandbox
    from tests.target_mona.conftest import Target


def logins(mona: Mona) -> list[RecordedRequest]:
    return mona.requests_to("/mona-auth.*/api-token$")


def refreshes(mona: Mona) -> list[RecordedRequest]:
    return mona.requests_to("/mona-auth.*/refresh$")


def sent_lengths(mona: Mona) -> list[int]:
    lengths = [int(export.headers["content-length"]) for export in mona.exports]
    assert lengths == [export.size for export in mona.exports]
    return lengths


# Sizing


def test_no_request_has_more_rows_than_allowed(target: Target, mona: Mona) -> None:
    run = target(schema(), *records(25), max_request_rows=10)
    assert run.status == 0
    assert sorted(export.notes["messages"] for export in mona.exports) == [5, 10, 10]


@pytest.mark.parametrize("max_bytes", [150, 151, 152, 1000, 3333])
def test_no_request_has_more_bytes_than_allowed(target: Target, mona: Mona, max_bytes: int) -> None:
    lines = [record(id=number, text="é" * (number % 30)) for number in range(200)]
    run = target(schema(), *lines, max_request_bytes=max_bytes, max_rejected_records=200)
    assert run.status == 0
    assert max(sent_lengths(mona)) <= max_bytes
    counts = run.summary()
    assert counts["read"] == 200
    assert counts["delivered"] == len(mona.messages())
    assert counts["delivered"] + counts["rejected"] == 200
    assert counts["bytes"] == sum(sent_lengths(mona))
    reason = f"larger than a request may be (max_request_bytes {max_bytes})"
    assert {each["reason"] for each in run.rejects} <= {reason}


def test_a_record_that_fills_a_request_to_the_byte_is_sent_and_a_larger_one_rejected(
    target: Target, mona: Mona
) -> None:
    target(schema(), record(id=1, text="x" * 100))
    (exact,) = sent_lengths(mona)
    for max_bytes, rejected in ((exact, 0), (exact - 1, 1)):
        run = target(
            schema(),
            record(id=1, text="x" * 100),
            max_request_bytes=max_bytes,
            max_rejected_records=1,
        )
        assert run.summary()["rejected"] == rejected
    assert sent_lengths(mona) == [exact, exact]


def test_a_request_is_filled_to_the_byte_and_no_further(target: Target, mona: Mona) -> None:
    target(schema(), *records(3, text="x" * 100))
    (exact,) = sent_lengths(mona)
    for max_bytes, max_value in ((exact, 3), (exact - 1, 2)):
        mona.requests.clear()
        run = target(schema(), *records(9, text="x" * 100), max_request_bytes=max_bytes)
        assert run.status == 0
        assert max(sent_lengths(mona)) <= max_bytes
        assert max(export.notes["messages"] for export in mona.exports) == max_value


# Order


def test_requests_are_in_flight_in_parallel_up_to_the_setting(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", delay=0.05, times=None)
    target(schema(), *records(16), max_request_rows=1, parallel_requests=4)
    assert mona.max_concurrent == 4


def test_one_request_at_a_time_if_configured(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    sandbox.faults.add("mona", "/export", delay=0.01, times=None)
    target(schema(), *records(8), max_request_rows=1, parallel_requests=1)
    assert mona.max_concurrent == 1
    assert [each["message"]["id"] for each in mona.messages()] == list(range(1, 9))


def test_records_of_one_key_never_overlap_and_arrive_in_order_over_all_streams(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", delay=0.02, probability=0.5, times=None)
    sandbox.faults.add("mona", "/export", status=503, probability=0.1, times=5)
    lines = [record(("a", "b")[number % 2], id=number % 5, version=number) for number in range(120)]
    run = target(
        schema("a"),
        schema("b"),
        *lines,
        streams={"*": {"arc_class": "shared"}},
        max_request_rows=3,
        parallel_requests=5,
    )
    assert run.status == 0
    assert mona.overlaps() == []
    assert mona.max_concurrent > 1
    for key in range(5):
        versions = [
            each["message"]["version"] for each in mona.messages() if each["context_id"] == str(key)
        ]
        assert list(dict.fromkeys(versions)) == sorted(set(versions))
        assert len(set(versions)) == 24
    assert mona.records()["shared", "4"]["version"] == 119


def test_a_split_request_blocks_its_keys_until_all_its_parts_are_delivered(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", delay=0.02, times=None)
    mona.failure_keys = "none"
    mona.refuse_if = lambda message: "bad" if message["message"].get("bad") else None
    lines = [record(id=number % 4, version=number, bad=number == 5) for number in range(40)]
    run = target(schema(), *lines, max_request_rows=8, parallel_requests=4, max_rejected_records=1)
    assert run.status == 0
    assert mona.overlaps() == []
    assert {key[1]: value["version"] for key, value in mona.records().items()} == {
        "0": 36,
        "1": 37,
        "2": 38,
        "3": 39,
    }
    (reject,) = run.rejects
    assert reject["record"] == {"id": 1, "version": 5, "bad": True}


# Credentials


def test_a_token_is_fetched_once_for_all_requests(target: Target, mona: Mona) -> None:
    target(schema(), *records(40), max_request_rows=1)
    assert len(logins(mona)) == 1
    assert refreshes(mona) == []
    assert len(mona.exports) == 40


@pytest.mark.parametrize(("expires_in", "renewed"), [(14400.0, False), (61.0, False), (0.5, True)])
def test_a_token_is_renewed_before_it_expires_for_any_lifetime(
    target: Target, sandbox: Sandbox, mona: Mona, expires_in: float, renewed: bool
) -> None:
    mona.expires_in = expires_in
    mona.now = datetime.now(
        timezone.utc
    )  # a fixed time for the vendor; only the target's clock advances
    sandbox.faults.add("mona", "/export", delay=0.1, times=None if renewed else 1)
    run = target(schema(), *records(10), max_request_rows=1, parallel_requests=1)
    assert run.status == 0
    assert {export.status for export in mona.exports} == {200}
    assert len(logins(mona)) == 1
    assert bool(refreshes(mona)) == renewed


def test_a_token_that_is_rejected_during_a_run_is_renewed_once(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", expire_token=True, after=3)
    run = target(schema(), *records(10), max_request_rows=1, parallel_requests=1)
    assert run.status == 0
    assert [export.status for export in mona.exports].count(401) == 1
    assert (len(logins(mona)), len(refreshes(mona))) == (1, 1)
    assert len(mona.messages()) == 10


@pytest.mark.parametrize("refresh", [{"status": 401}, {"status": 400, "body": "no JSON"}])
def test_when_the_refresh_fails_the_target_logs_in_again(
    target: Target, sandbox: Sandbox, mona: Mona, refresh: dict[str, Any]
) -> None:
    sandbox.faults.add("mona", "/export", expire_token=True, after=1)
    sandbox.faults.add("mona", "/token/refresh", **refresh)
    run = target(schema(), *records(3), max_request_rows=1, parallel_requests=1)
    assert run.status == 0
    assert (len(logins(mona)), len(refreshes(mona))) == (2, 1)
    assert len(mona.messages()) == 3


def test_a_refresh_token_may_work_only_once(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    mona.single_use_refresh = True
    sandbox.faults.add("mona", "/export", expire_token=True, after=1)
    sandbox.faults.add("mona", "/export", expire_token=True, after=5)
    run = target(schema(), *records(10), max_request_rows=1, parallel_requests=1)
    assert run.status == 0
    assert (len(logins(mona)), len(refreshes(mona))) == (1, 2)


def test_an_access_token_from_elsewhere_is_used_and_carries_the_user_id(
    target: Target, mona: Mona
) -> None:
    for name in ("client_id", "client_secret", "user_id"):
        del target.config[name]
    run = target(schema(), record(id=1), access_token=mona.access_token())
    assert run.status == 0
    assert logins(mona) == []
    assert mona.exports[0].json["userId"] == mona.user_id


def test_the_user_id_comes_from_the_token_that_was_fetched(target: Target, mona: Mona) -> None:
    del target.config["user_id"]
    run = target(schema(), record(id=1))
    assert run.status == 0
    assert mona.exports[0].json["userId"] == mona.user_id
    assert len(logins(mona)) == 1


def test_a_token_without_a_user_id_asks_for_the_setting(target: Target, mona: Mona) -> None:
    for name in ("client_id", "client_secret", "user_id"):
        del target.config[name]
    run = target(schema(), record(id=1), access_token="opaque-token")
    assert run.status == 1
    assert run.reason.startswith("setting 'user_id' is required")
    assert mona.requests == []


def test_an_expired_access_token_from_elsewhere_is_named(target: Target, mona: Mona) -> None:
    run = target(schema(), record(id=1), access_token=mona.access_token(expires_in=-1))
    assert run.status == 1
    assert "check setting 'access_token'" in run.reason
    assert len(mona.exports) == 1


def test_wrong_credentials_are_named_and_never_shown(target: Target, mona: Mona) -> None:
    run = target(schema(), record(id=1), state({}), client_secret="a-wrong-secret")
    assert run.status == 1
    assert "Mona login: rejected with status 401" in run.reason
    assert "check settings 'client_id' and 'client_secret'" in run.reason
    assert "a-wrong-secret" not in run.log + run.output
    assert len(logins(mona)) == 1
    assert run.states == []


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f'{{"accessToken": "t-1234567", "expiresIn": -{HUGE}}}', "lifetime of the access token"),
        ('{"accessToken": "t-1234567", "expiresIn": NaN}', "lifetime of the access token"),
        ('{"accessToken": "t-1234567\\ud800"}', "characters that headers cannot contain"),
        ('{"accessToken": "t-1234567\\r\\nX: y"}', "characters that headers cannot contain"),
    ],
)
def test_a_token_that_cannot_be_used_is_an_error_of_the_login(
    target: Target, sandbox: Sandbox, mona: Mona, body: str, reason: str
) -> None:
    sandbox.faults.add("mona", "/api-token", status=200, body=body, times=None)
    run = target(schema(), record(id=1), state(1), max_attempts=2)
    assert run.status == 1
    assert run.states == []
    assert run.reason.startswith("Mona login: gave up after 2 attempts")
    assert reason in run.reason
    assert "t-1234567" not in run.log
    assert mona.exports == []


@pytest.mark.parametrize("expiry", [10**400, -(10**400), math.inf, math.nan, "soon", None])
def test_a_token_without_a_usable_expiry_has_none(expiry: Any) -> None:
    token = jwt.encode({"exp": expiry}, "k" * 32, algorithm="HS256")
    assert expiry_of(claims_of(token)) is None


@pytest.mark.parametrize("token", ["opaque", "\ud800", "..", "a.b.c"])
def test_a_token_that_cannot_be_read_has_no_claims(token: str) -> None:
    assert claims_of(token) == {}


def test_half_a_surrogate_in_a_token_is_no_user_id(target: Target, mona: Mona) -> None:
    del target.config["user_id"]
    token = jwt.encode({"tenantId": "\ud800"}, "k" * 32, algorithm="HS256")
    run = target(schema(), record(id=1), access_token=token)
    assert run.status == 1
    assert run.reason.startswith("setting 'user_id' is required")
    assert mona.requests == []


@pytest.mark.parametrize("suffix", ["", "/", "/export", "/export/"])
def test_the_designated_url_may_be_given_with_or_without_export(
    target: Target, mona: Mona, suffix: str
) -> None:
    run = target(schema(), record(id=1), api_url=mona.api_url + suffix)
    assert run.status == 0
    assert len(mona.messages()) == 1


def test_the_user_id_is_put_into_the_url(target: Target, sandbox: Sandbox) -> None:
    url = sandbox.url + "/{user_id}"
    run = target(schema(), record(id=1), api_url=url, user_id="mona")
    assert "userId is not the one of the access token" in run.reason


def test_the_token_service_may_be_given_without_its_path(target: Target, mona: Mona) -> None:
    host = mona.auth_base_url.removesuffix("/mona-auth")
    run = target(schema(), record(id=1), auth_url=host)
    assert "Mona login: rejected with status 404" in run.reason
    assert "; check setting 'auth_url'" in run.reason
    assert target(schema(), record(id=1), auth_url=f"{mona.auth_url}/").status == 0


# Retries


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 429, "retry_after": 1},
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 504},
        {"status": 408},
        {"reset": "before"},
        {"reset": "after"},
        {"reset": "mid-body"},
        {"status": 503, "after_acting": True},
    ],
)
def test_a_temporary_failure_loses_nothing(
    target: Target, sandbox: Sandbox, mona: Mona, fault: dict[str, Any]
) -> None:
    mona.success_body = '{"ok": true}'
    sandbox.faults.add("mona", "/export", **fault)
    run = target(schema(), *records(5), state(1))
    assert run.status == 0
    assert run.states == [1]
    assert sorted(mona.records()) == [("orders", str(number)) for number in range(1, 6)]
    assert (run.summary()["requests"], run.summary()["retries"]) == (2, 1)


def test_retry_after_as_a_date_is_waited_out(target: Target, sandbox: Sandbox) -> None:
    when = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=2)
    sandbox.faults.add(
        "mona", "/export", status=429, retry_after=format_datetime(when, usegmt=True)
    )
    assert target(schema(), record(id=1)).status == 0
    assert datetime.now(timezone.utc) >= when


def test_silence_is_a_failed_attempt(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    sandbox.faults.add("mona", "/export", hold=True)
    run = target(schema(), record(id=1), request_timeout_seconds="0.3")
    assert run.status == 0
    assert len(mona.exports) == 2


def test_a_slow_response_is_not_a_failure(target: Target, sandbox: Sandbox, mona: Mona) -> None:
    sandbox.faults.add("mona", "/export", delay=0.5)
    run = target(schema(), record(id=1), request_timeout_seconds=5)
    assert run.status == 0
    assert len(mona.exports) == 1


def test_a_permanent_failure_ends_the_run_with_one_line(
    target: Target, sandbox: Sandbox, mona: Mona
) -> None:
    sandbox.faults.add("mona", "/export", status=503, times=None)
    run = target(schema(), record(id=1), state(1), max_attempts=2)
    assert run.status == 1
    assert re.match(r"Mona export: gave up after 2 attempts \(max_attempts\)", run.reason)
    assert "Traceback" not in run.log
    assert run.states == []
    assert len(mona.exports) == 2


def test_a_request_that_is_too_large_for_the_vendor_is_split(target: Target, mona: Mona) -> None:
    mona.max_messages = 3
    run = target(schema(), *records(20))
    assert run.status == 0
    assert len(mona.messages()) == 20


def test_a_record_that_is_too_large_for_the_vendor_is_rejected(target: Target, mona: Mona) -> None:
    mona.max_request_bytes = 400
    run = target(schema(), *records(10), record(id=11, text="x" * 1000), max_rejected_records=1)
    assert run.status == 0
    assert len(mona.records()) == 10
    (reject,) = run.rejects
    assert reject["key"] == {"id": 11}
    assert reject["status"] == 413
