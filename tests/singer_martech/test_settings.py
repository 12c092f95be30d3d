from __future__ import annotations

import re
from typing import Any

import pytest
from singer_sdk import typing as th
from singer_sdk.exceptions import ConfigValidationError

from singer_martech.delivery.settings import delivery_settings
from singer_martech.runtime.redaction import redact
from singer_martech.singer.config_check import check_config
from singer_martech.singer.settings import http_settings
from target_mona.target import TargetMona

SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property("api_token", th.StringType, required=True, secret=True),
    th.Property("user_id", th.StringType),
    th.Property("api_url", th.StringType, default="https://api.example.com"),
    th.Property("auth_url", th.StringType),
    th.Property("names", th.ArrayType(th.StringType)),
    th.Property("nested", th.ObjectType(th.Property("inner", th.StringType))),
    *http_settings(),
    *delivery_settings(max_request_rows=1000, max_request_bytes=4096),
).to_dict()


def check(**config: Any) -> tuple[dict[str, Any], list[str]]:
    return check_config(SCHEMA, {"api_token": "very-secret-token", **config}, "TARGET_TEST_")


def test_defaults_match_the_documentation() -> None:
    config, faults = check()
    assert faults == []
    assert config == {
        "api_token": "very-secret-token",
        "api_url": "https://api.example.com",
        "request_timeout_seconds": 60,
        "max_attempts": 6,
        "max_rate_limit_wait_seconds": 3900,
        "streams": {},
        "max_request_rows": 1000,
        "max_request_bytes": 4096,
        "parallel_requests": 4,
        "max_rejected_records": 0,
        "reject_path": "rejects",
        "deletes": "skip",
        "keep_sdc_columns": False,
        "dry_run": False,
        "checkpoint_interval_seconds": 60,
        "ledger_reset": False,
    }


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("request_timeout_seconds", "0.5", 0.5),
        ("request_timeout_seconds", 0.5, 0.5),
        ("max_attempts", "3", 3),
        ("max_attempts", " 3 ", 3),
        ("max_attempts", "3.0", 3),
        ("max_attempts", 3.0, 3),
        ("max_rejected_records", "0", 0),
        ("dry_run", "true", True),
        ("dry_run", "False", False),
        ("dry_run", "1", True),
        ("dry_run", "no", False),
        ("user_id", 1234567890, "1234567890"),
        ("checkpoint_interval_seconds", "0.25", 0.25),
        ("deletes", "", "skip"),
        ("max_attempts", None, 6),
        ("api_url", "https://host/path/", "https://host/path"),
        ("api_url", "http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("api_url", "http://127.9.9.9", "http://127.9.9.9"),
        ("api_url", "http://[::1]:80", "http://[::1]:80"),
        ("auth_url", "http://localhost:1", "http://localhost:1"),
        ("streams", '{"a": {}}', '{"a": {}}'),
        ("user_id", " u 1\r\n", "u 1"),
        ("user_id", "first\nsecond\n", "first\nsecond\n"),
        ("deletes", "reject\n", "reject"),
        ("deletes", " \t", "skip"),
        ("api_url", "\thttps://host/path/\n", "https://host/path"),
        ("api_token", " very-secret-token \n", "very-secret-token"),
        ("names", [" a "], [" a "]),
        ("nested", {"inner": " a "}, {"inner": "a"}),
    ],
)
def test_settings_can_be_given_as_text(name: str, given: Any, value: Any) -> None:
    config, faults = check(**{name: given})
    assert faults == []
    assert config[name] == value
    assert type(config[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "fault"),
    [
        ("max_attempts", "many", "setting 'max_attempts' must be a whole number"),
        ("max_attempts", "2.5", "setting 'max_attempts' must be a whole number"),
        ("max_attempts", 0, "setting 'max_attempts' must be at least 1"),
        ("request_timeout_seconds", "0", "'request_timeout_seconds' must be greater than 0"),
        ("request_timeout_seconds", "nan", "'request_timeout_seconds' must be a number"),
        ("request_timeout_seconds", "inf", "'request_timeout_seconds' must be a number"),
        ("request_timeout_seconds", True, "'request_timeout_seconds' must be a number"),
        ("checkpoint_interval_seconds", -1, "'checkpoint_interval_seconds' must be greater"),
        ("dry_run", "maybe", "setting 'dry_run' must be true or false"),
        (
            "names",
            "[1",
            (
                r"must be an array \(JSON\), such as \[\"a\", \"b\"\]; the text is not valid JSON "
                r"\(line 1, column 3: "
            ),
        ),
        ("names", '"a"', r"must be an array \(JSON\), such as \[\"a\", \"b\"\]$"),
        ("deletes", "apply", "setting 'deletes' must be one of skip, reject"),
        ("parallel_requests", "0", "setting 'parallel_requests' must be at least 1"),
        ("max_rejected_records", "-1", "setting 'max_rejected_records' must be at least 0"),
        ("api_url", "http://api.example.com", "setting 'api_url' must start with https://"),
        ("auth_url", "http://192.168.0.1/x", "setting 'auth_url' must start with https://"),
        ("auth_url", "http://localhost.example.com", "'auth_url' must start with https://"),
        ("auth_url", "http://127.0.0.1.example.com", "'auth_url' must start with https://"),
        ("api_url", "ftp://host", "setting 'api_url' must be a URL"),
        ("api_url", "api.example.com", "setting 'api_url' must be a URL"),
        ("api_url", "https://", "setting 'api_url' must be a URL"),
        ("api_url", "https://me:pass@host", "setting 'api_url' must not contain a user name"),
        ("api_token", "", "setting 'api_token' is required: .* TARGET_TEST_API_TOKEN"),
        ("api_token", {"a": 1}, "setting 'api_token' must be text"),
        ("user_id", "a\x00b", "setting 'user_id' contains an invalid character"),
        ("streams", {"a": [{"b": "\ud800"}]}, "setting 'streams' contains an invalid character"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name: str, given: Any, fault: str) -> None:
    _, faults = check(**{name: given})
    assert len(faults) == 1
    assert "\n" not in faults[0]
    assert re.search(fault, faults[0])


LINES = {"encoding": {"format": "jsonl"}}
ROOT = {"storage": {"root": "batches"}}


@pytest.mark.parametrize(
    ("name", "given", "fault"),
    [
        ("batch_config", LINES, "setting 'batch_config.storage' is required"),
        ("batch_config", ROOT, "setting 'batch_config.encoding' is required"),
        ("batch_config", {**ROOT, "encoding": {}}, "'batch_config.encoding.format' is required"),
        ("batch_config", {**LINES, "storage": {}}, "'batch_config.storage.root' is required"),
        ("batch_config", {**LINES, **ROOT, "x": 1}, "'batch_config' has the unknown key 'x'"),
        ("batch_config", {**LINES, **ROOT, "batch_size": 0}, "batch_size' must be at least 1"),
        ("flattening_enabled", "true", "setting 'flattening_max_depth' is required"),
        ("stream_maps", {"a": 5}, "'stream_maps.a' must be \"__NULL__\" or null or an object"),
        ("stream_maps", {"a": {"b": {}}}, "'stream_maps.a.b' must be \"__NULL__\" or null or text"),
        ("stream_maps", {"a": {"__key_properties__": "b"}}, "__key_properties__' must be an array"),
        (
            "stream_maps",
            {"__key_properties__": {}},
            "'stream_maps' has no key '__key_properties__'",
        ),
        ("stream_maps", {"__else__": "x"}, "'stream_maps.__else__' must be \"__NULL__\" or null"),
        ("stream_maps", {"a": {"b": "(("}}, "'stream_maps.a.b' is not a Python expression"),
        ("stream_maps", {"a": {"__filter__": "b = 1"}}, "'stream_maps.a.__filter__' is not a"),
    ],
)
def test_an_invalid_sdk_setting_is_named_in_one_line(name: str, given: Any, fault: str) -> None:
    with pytest.raises(ConfigValidationError) as caught:
        TargetMona(config={"access_token": "a-token", name: given})
    assert len(caught.value.errors) == 1
    assert re.search(fault, caught.value.errors[0])


def test_complete_sdk_settings_are_accepted() -> None:
    config = {
        "access_token": "a-token",
        "batch_config": {**LINES, **ROOT, "batch_size": 5},
        "flattening_enabled": True,
        "flattening_max_depth": "0",
        "stream_maps": {"a": {"b": "c", "__alias__": "is not", "d": None}, "e": "__NULL__"},
    }
    assert TargetMona(config=config).config["flattening_max_depth"] == 0


def test_no_error_shows_the_value_of_a_setting() -> None:
    _, faults = check(api_token=["my-secret-in-a-list"], max_attempts="my-secret-here")
    assert len(faults) == 2
    assert "my-secret" not in " ".join(faults)


def test_checking_the_settings_registers_their_secrets() -> None:
    check(api_token="a-brand-new-secret")
    assert redact("it is a-brand-new-secret.") == "it is [secret]."


def test_a_batch_storage_that_no_installed_package_reads_is_named() -> None:
    def problems(root: str) -> list[str]:
        storage = {"encoding": {"format": "jsonl"}, "storage": {"root": root}}
        return check(batch_config=storage)[1]

    assert problems("file:///tmp") == []
    (line,) = problems("nowhere://bucket")
    assert line.startswith("setting 'batch_config.storage.root' cannot be used: ")
    assert "nowhere" in line


def test_an_unknown_setting_is_warned_about_with_the_closest_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, faults = check(max_attemps=3)
    assert faults == []
    assert "setting 'max_attemps' is unknown and ignored; did you mean 'max_attempts'?" in (
        caplog.text
    )
